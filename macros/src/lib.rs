//! The attribute macros of the `heldport` crate. Depend on `heldport`, which re-exports what stands here.
//!
//! `parse` reads the attribute's arguments, `validate` finds out which parameter gets which ports, `expand` writes
//! the function anew, and `fallback` writes what keeps further errors away if one of these has failed.

mod expand;
mod fallback;
mod parse;
mod validate;

use proc_macro::TokenStream;

#[expect(missing_docs, reason = "they stand where `heldport` re-exports it")]
#[proc_macro_attribute]
pub fn with_ports(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), &item.into()).into()
}

fn expand(arguments: proc_macro2::TokenStream, item: &proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let expanded = parse::function(item.clone()).and_then(|function| {
        let request = parse::request(arguments)?;
        Ok(expand::function(validate::plan(&request, function)?, &request))
    });
    expanded.unwrap_or_else(|error| fallback::tokens(&error, item))
}

#[cfg(test)]
mod tests;
