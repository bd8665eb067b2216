//! The expansion, as text. `UPDATE_EXPECT=1 cargo test -p heldport-macros` writes it anew.

#![allow(clippy::needless_raw_string_hashes, reason = "the tool that writes them anew puts hashes around")]

use expect_test::{Expect, expect};
use proc_macro2::TokenStream;
use proptest::prelude::*;
use quote::quote;

fn check(arguments: TokenStream, item: &TokenStream, expected: &Expect) {
    let expanded = crate::expand(arguments, item);
    expected.assert_eq(&prettyplease::unparse(&syn::parse2(expanded).unwrap()));
}

#[test]
fn a_number_of_ports() {
    let test = quote! {
        /// What it shows.
        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "slow"]
        pub(crate) async fn two([a, mut b]: [HeldPort; 2]) -> anyhow::Result<()> {
            use std::io;
            b.lend()?;
            Ok(())
        }
    };
    check(
        quote!(2),
        &test,
        &expect![[r#"
            /// What it shows.
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "slow"]
            pub(crate) async fn two() -> anyhow::Result<()> {
                let mut heldport = match ::heldport::__private::Ports::acquire(
                    &<[HeldPort; 2] as ::heldport::__private::FromPorts<2usize>>::PROTOCOLS,
                    false,
                    ::core::option::Option::None,
                ) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                #[allow(unused_mut)]
                let mut delivered = match <[HeldPort; 2] as ::heldport::__private::FromPorts<
                    2usize,
                >>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                let [a, mut b] = delivered;
                {
                    use std::io;
                    b.lend()?;
                    Ok(())
                }
            }
        "#]],
    );
}

#[test]
fn named_ports_beside_what_rstest_fills() {
    let test = quote! {
        #[rstest]
        #[case(1)]
        fn named(#[case] number: u32, grpc: HeldPort, database: Database, mut http: TcpListener) {}
    };
    check(
        quote!(http, grpc),
        &test,
        &expect![[r#"
            #[rstest]
            #[case(1)]
            fn named(#[case] number: u32, database: Database) {
                let mut heldport = match ::heldport::__private::Ports::acquire(
                    &[
                        <TcpListener as ::heldport::__private::FromPorts<1usize>>::PROTOCOLS[0],
                        <HeldPort as ::heldport::__private::FromPorts<1usize>>::PROTOCOLS[0],
                    ],
                    false,
                    ::core::option::Option::None,
                ) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                #[allow(unused_mut)]
                let mut delivered = match <TcpListener as ::heldport::__private::FromPorts<
                    1usize,
                >>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                let mut http = delivered;
                #[allow(unused_mut)]
                let mut delivered = match <HeldPort as ::heldport::__private::FromPorts<
                    1usize,
                >>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                let grpc = delivered;
                {}
            }
        "#]],
    );
}

#[test]
fn every_option() {
    let test = quote! {
        #[test]
        fn options(fixture: Fixture, #[ports] #[allow(unused)] ports: Vec<HeldPort>) {}
    };
    let arguments = quote!(
        3,
        block = true,
        range = FIRST..=LAST,
        host = "127.0.0.2",
        prefer = FIRST + 1,
        crate = kit::ports
    );
    check(
        arguments,
        &test,
        &expect![[r#"
            #[test]
            fn options(fixture: Fixture) {
                let mut heldport = match kit::ports::__private::Ports::acquire(
                    &<Vec<HeldPort> as kit::ports::__private::FromPorts<3usize>>::PROTOCOLS,
                    true,
                    ::core::option::Option::Some(
                        <kit::ports::__private::Settings as ::core::default::Default>::default()
                            .range(FIRST..=LAST)
                            .prefer(FIRST + 1)
                            .host([127u8, 0u8, 0u8, 2u8]),
                    ),
                ) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                #[allow(unused_mut)]
                let mut delivered = match <Vec<
                    HeldPort,
                > as kit::ports::__private::FromPorts<3usize>>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                #[allow(unused)]
                let ports = delivered;
                {}
            }
        "#]],
    );
}

#[test]
fn hosts_by_name_and_by_expression() {
    let test = || {
        quote!(
            #[test]
            fn host(port: HeldPort) {}
        )
    };
    check(
        quote!(1, host = "any"),
        &test(),
        &expect![[r#"
            #[test]
            fn host() {
                let mut heldport = match ::heldport::__private::Ports::acquire(
                    &[<HeldPort as ::heldport::__private::FromPorts<1usize>>::PROTOCOLS[0]],
                    false,
                    ::core::option::Option::Some(
                        <::heldport::__private::Settings as ::core::default::Default>::default()
                            .any_host(),
                    ),
                ) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                #[allow(unused_mut)]
                let mut delivered = match <HeldPort as ::heldport::__private::FromPorts<
                    1usize,
                >>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                let port = delivered;
                {}
            }
        "#]],
    );
    check(
        quote!(port, host = my_address(),),
        &test(),
        &expect![[r#"
            #[test]
            fn host() {
                let mut heldport = match ::heldport::__private::Ports::acquire(
                    &[<HeldPort as ::heldport::__private::FromPorts<1usize>>::PROTOCOLS[0]],
                    false,
                    ::core::option::Option::Some(
                        <::heldport::__private::Settings as ::core::default::Default>::default()
                            .host(my_address()),
                    ),
                ) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                #[allow(unused_mut)]
                let mut delivered = match <HeldPort as ::heldport::__private::FromPorts<
                    1usize,
                >>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => failure.panic(),
                };
                let port = delivered;
                {}
            }
        "#]],
    );
}

#[test]
fn a_test_that_should_panic() {
    let test = quote! {
        #[test]
        #[should_panic(expected = "so")]
        fn panics(port: HeldPort) { panic!("so") }
    };
    check(
        quote!(1),
        &test,
        &expect![[r##"
            #[test]
            #[should_panic(expected = "so")]
            fn panics() {
                let mut heldport = match ::heldport::__private::Ports::acquire(
                    &[<HeldPort as ::heldport::__private::FromPorts<1usize>>::PROTOCOLS[0]],
                    false,
                    ::core::option::Option::None,
                ) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => return failure.print(),
                };
                #[allow(unused_mut)]
                let mut delivered = match <HeldPort as ::heldport::__private::FromPorts<
                    1usize,
                >>::from_ports(&mut heldport) {
                    ::core::result::Result::Ok(ports) => ports,
                    ::core::result::Result::Err(failure) => return failure.print(),
                };
                let port = delivered;
                { panic!("so") }
            }
        "##]],
    );
}

#[test]
fn a_mistake_leaves_the_function_without_its_test() {
    let test = quote! {
        #[rstest]
        fn mistake(#[case] number: u32, port: HeldPort) { drop(port) }
    };
    check(
        quote!(1, rnage = 1..2),
        &test,
        &expect![[r#"
            ::core::compile_error! {
                "there is no option `rnage`: did you mean `range`?"
            }
            #[allow(unused)]
            fn mistake(number: u32, port: HeldPort) {
                drop(port)
            }
        "#]],
    );
}

/// Tokens as they stand in attributes and functions, in any order.
fn odd(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        9 => prop::sample::select(pieces).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
        1 => any::<i128>().prop_map(|number| number.to_string()),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.join(" "))
}

const ARGUMENTS: [&str; 32] = [
    "1",
    "2",
    "0",
    "3,",
    "65536",
    "1u8",
    "http",
    "grpc",
    "http,",
    ":",
    ": udp",
    ": both,",
    ": tcp",
    "=",
    ",",
    "_",
    "self",
    "r#fn",
    "block = true,",
    "block",
    "range = 1..=2,",
    "range = ,",
    "host = \"any\",",
    "host = \"::1\"",
    "host = \"é\"",
    "prefer = 7777,",
    "crate = a::b,",
    "crate = ,",
    "rnage = 1",
    "(1)",
    "'a",
    "\"http\"",
];

const PARAMETERS: [&str; 16] = [
    "http: HeldPort",
    "grpc: TcpListener,",
    "#[ports] p: [HeldPort; 2],",
    "#[ports]",
    "#[case] n: u32,",
    "self,",
    "&self",
    "mut a: B,",
    "[a, b]: [HeldPort; 2],",
    "(a, b): (HeldPort, HeldListener),",
    "_: HeldPort,",
    "a: impl Copy,",
    "...",
    "p: Vec<HeldPort>,",
    ",",
    "a: &'a B",
];

const FUNCTIONS: [&str; 8] = [
    "#[test]",
    "#[should_panic]",
    "#[should_panic(expected = \"so\")]",
    "pub",
    "async",
    "unsafe extern \"C\"",
    "const",
    "#[tokio::test]",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_written_becomes_code_or_a_compile_error(
        arguments in odd(&ARGUMENTS), parameters in odd(&PARAMETERS), function in odd(&FUNCTIONS),
    ) {
        let tokens = |text: &str| text.parse::<TokenStream>();
        let Ok(arguments) = tokens(&arguments) else { return Ok(()) };
        let items = [
            format!("{function} fn test({parameters}) {{}}"), "#[test] fn test(http: HeldPort, grpc: HeldPort) {}".to_owned(),
            parameters,
        ];
        for item in items {
            let Ok(item) = tokens(&item) else { continue };
            let expanded = crate::expand(arguments.clone(), &item);
            let text = expanded.to_string();
            if syn::parse2::<syn::ItemFn>(item).is_ok() {
                prop_assert!(syn::parse2::<syn::File>(expanded).is_ok(), "{}", text);
            }
            prop_assert!(text.contains("acquire") || text.contains("compile_error"), "{}", text);
        }
    }
}
