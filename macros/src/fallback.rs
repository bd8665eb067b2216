use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, ItemFn};

/// The error, and the function as one that nobody calls: a test framework would go on to complain of the
/// parameters that were left.
pub(crate) fn tokens(error: &Error, item: &TokenStream) -> TokenStream {
    let error = error.to_compile_error();
    match syn::parse2::<ItemFn>(item.clone()) {
        Ok(mut function) => {
            function.attrs.clear();
            for input in &mut function.sig.inputs {
                if let FnArg::Typed(parameter) = input {
                    parameter.attrs.clear();
                }
            }
            quote!(#error #[allow(unused)] #function)
        }
        Err(_) => quote!(#error #item),
    }
}
