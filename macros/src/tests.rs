//! The expansion, as text. `UPDATE_EXPECT=1 cargo test -p heldport-macros` writes it anew.

#![allow(clippy::needless_raw_string_hashes, reason = "the tool that writes them anew puts hashes around")]

use expect_test::{Expect, expect};
use proc_macro2::TokenStream;
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
