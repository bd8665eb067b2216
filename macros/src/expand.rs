//! The function anew: its body begins by acquiring the ports.

use std::net::IpAddr;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::token::Brace;
use syn::{Attribute, PatType, parse_quote};

use crate::parse::{Host, Options, Protocol, Request};
use crate::validate::{Delivery, Plan};

/// The names that are added are mixed-site: the test cannot see them.
pub(crate) fn function(plan: Plan, request: &Request) -> TokenStream {
    let Plan { mut function, deliveries, should_panic } = plan;
    let private = private(&request.options);
    let acquire = acquire(&deliveries, request, should_panic, &private);
    let deliver = deliveries.iter().map(|delivery| deliver(delivery, should_panic, &private));
    // A block of its own, so that the test's items still come before its statements. Its braces are ours, so that no
    // lint takes them for the test's.
    let block = &mut function.block;
    block.brace_token = Brace(Span::mixed_site());
    function.block = parse_quote!({ #acquire #(#deliver)* #block });
    function.into_token_stream()
}

/// Where the code is that the macro's code calls.
fn private(options: &Options) -> TokenStream {
    match &options.krate {
        Some(krate) => quote!(#krate::__private),
        None => quote!(::heldport::__private),
    }
}

fn acquire(
    deliveries: &[Delivery],
    request: &Request,
    should_panic: bool,
    private: &TokenStream,
) -> TokenStream {
    let protocols = protocols(deliveries, private);
    let block = request.options.block;
    let settings = match settings(&request.options) {
        settings if settings.is_empty() => quote!(::core::option::Option::None),
        settings => quote! {
            ::core::option::Option::Some(
                <#private::Settings as ::core::default::Default>::default() #settings
            )
        },
    };
    let on_failure = on_failure(should_panic);
    quote_spanned! {Span::mixed_site()=>
        let mut heldport = match #private::Ports::acquire(#protocols, #block, #settings) {
            ::core::result::Result::Ok(ports) => ports,
            ::core::result::Result::Err(failure) => #on_failure,
        };
    }
}

/// What each port is held for: what the test says, or else what the type needs.
fn protocols(deliveries: &[Delivery], private: &TokenStream) -> TokenStream {
    let of_type = |Delivery { parameter, count, .. }: &Delivery| {
        let (ty, count) = (&parameter.ty, usize::from(*count));
        quote!(<#ty as #private::FromPorts<#count>>::PROTOCOLS)
    };
    let one = |delivery: &Delivery| {
        let of_type = of_type(delivery);
        match delivery.protocol {
            None => quote!(#of_type[0]),
            Some(Protocol::Tcp) => quote!(#private::Protocol::Tcp),
            Some(Protocol::Udp) => quote!(#private::Protocol::Udp),
            Some(Protocol::TcpAndUdp) => quote!(#private::Protocol::TcpAndUdp),
        }
    };
    match deliveries {
        [several] if several.count > 1 => {
            let of_type = of_type(several);
            quote!(&#of_type)
        }
        each => {
            let each = each.iter().map(|delivery| {
                let (cfgs, protocol) = (cfgs(&delivery.parameter), one(delivery));
                quote!(#(#cfgs)* #protocol)
            });
            quote!(&[#(#each),*])
        }
    }
}

/// Under which conditions the parameter is there.
fn cfgs(parameter: &PatType) -> impl Iterator<Item = &Attribute> {
    parameter.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"))
}

/// The calls of an allocator's builder.
fn settings(Options { range, host, prefer, .. }: &Options) -> TokenStream {
    let range = range.as_ref().map(|range| quote!(.range(#range)));
    let prefer = prefer.as_ref().map(|port| quote!(.prefer(#port)));
    let octets = |octets: &[u8]| quote!(.host([#(#octets),*]));
    let host = host.as_ref().map(|host| match host {
        Host::Loopback => quote!(.loopback()),
        Host::Any => quote!(.any_host()),
        Host::One(ip) => quote!(.host(#ip)),
        Host::Written(IpAddr::V4(ip)) => octets(&ip.octets()),
        Host::Written(IpAddr::V6(ip)) => octets(&ip.octets()),
    });
    quote!(#range #prefer #host)
}

/// How a test without ports ends.
fn on_failure(should_panic: bool) -> TokenStream {
    if should_panic {
        // It returns nothing, as every test that should panic.
        quote_spanned!(Span::mixed_site()=> return failure.print())
    } else {
        quote_spanned!(Span::mixed_site()=> failure.panic())
    }
}

fn deliver(delivery: &Delivery, should_panic: bool, private: &TokenStream) -> TokenStream {
    let PatType { attrs, pat, ty, .. } = &delivery.parameter;
    let count = usize::from(delivery.count);
    let on_failure = on_failure(should_panic);
    // Taken apart in a second step: what the pattern leaves, as `_` does, lives on like the rest of a parameter.
    let cfgs = cfgs(&delivery.parameter);
    quote_spanned! {Span::mixed_site()=>
        #(#cfgs)*
        #[allow(unused_mut)] // for `ref mut`
        let mut delivered = match <#ty as #private::FromPorts<#count>>::from_ports(&mut heldport) {
            ::core::result::Result::Ok(ports) => ports,
            ::core::result::Result::Err(failure) => #on_failure,
        };
        #(#attrs)*
        let #pat = delivered;
    }
}
