//! Which parameter gets which ports, and whether the function is one that can have them.

use std::mem;

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, Pat, PatType, Path, Result};

use crate::parse::{Named, Ports, Protocol, Request};

/// What is to be written.
pub(crate) struct Plan {
    /// The function without the parameters that ports are delivered to.
    pub(crate) function: ItemFn,
    pub(crate) deliveries: Vec<Delivery>,
    /// Whether a panic is what the test is to end with: a failure to acquire must not look like it.
    pub(crate) should_panic: bool,
}

/// A parameter that gets ports.
pub(crate) struct Delivery {
    pub(crate) parameter: PatType,
    pub(crate) count: u16,
    /// If the test says it; else its type does.
    pub(crate) protocol: Option<Protocol>,
}

/// The attribute that marks the parameter to deliver to.
const MARK: &str = "ports";

/// Attributes that make no test: the language's own.
const BUILT_IN: [&str; 18] = [
    "allow",
    "cfg",
    "cfg_attr",
    "clippy",
    "cold",
    "coverage",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "ignore",
    "inline",
    "must_use",
    "rustfmt",
    "should_panic",
    "track_caller",
    "warn",
];

/// Attributes that make no test: those that stand beside one which does.
const COMPANIONS: [&str; 7] =
    ["file_parallel", "file_serial", "instrument", "parallel", "serial", "traced_test", "with_ports"];

pub(crate) fn plan(request: &Request, mut function: ItemFn) -> Result<Plan> {
    if !function.attrs.iter().any(|attribute| may_make_a_test(attribute.path())) {
        return Err(Error::new(
            Span::call_site(),
            "no test attribute below `#[with_ports]`: it stands above `#[test]`, `#[tokio::test]`, `#[rstest]` and \
             the like",
        ));
    }
    let deliveries = match &request.ports {
        Ports::Count(count) => {
            let parameter = take_marked_or_first(&mut function, *count)?;
            refuse_marks(
                &function,
                "only one parameter can be marked: for several, name the ports by the parameters \
                                     that they go to, as in `#[with_ports(http, grpc)]`",
            )?;
            vec![Delivery { parameter, count: *count, protocol: None }]
        }
        Ports::Named(names) => {
            let one = |named: &Named| {
                let parameter = take_named(&mut function, &named.name)?;
                Ok(Delivery { parameter, count: 1, protocol: named.protocol })
            };
            let deliveries = names.iter().map(one).collect::<Result<_>>()?;
            refuse_marks(&function, "the ports' names say already where they go: remove this")?;
            deliveries
        }
    };
    let should_panic = all_cases_should_panic(&function);
    Ok(Plan { function, deliveries, should_panic })
}

/// Any attribute may be a test framework's, save those that are known not to.
fn may_make_a_test(path: &Path) -> bool {
    let is_one_of = |ident: &Ident, known: &[&str]| known.iter().any(|name| ident == name);
    let ends = path.segments.first().zip(path.segments.last());
    ends.is_some_and(|(first, last)| {
        !is_one_of(&first.ident, &BUILT_IN) && !is_one_of(&last.ident, &COMPANIONS)
    })
}

/// What stands above a `#[case]` rstest gives to that case alone: the others must not pass without their ports.
fn all_cases_should_panic(function: &ItemFn) -> bool {
    let is_case =
        |attribute: &Attribute| attribute.path().segments.iter().any(|segment| segment.ident == "case");
    let mut of_all = function.attrs.iter().rev().take_while(|attribute| !is_case(attribute));
    of_all.any(|attribute| attribute.path().is_ident("should_panic"))
}

/// The parameter with the mark, else the first without any attribute.
fn take_marked_or_first(function: &mut ItemFn, count: u16) -> Result<PatType> {
    let marked = position(function, |parameter| mark_of(parameter).is_some());
    let place = marked.or_else(|| position(function, |parameter| parameter.attrs.is_empty()));
    place.map(|place| take(function, place)).ok_or_else(|| {
        let missing = format!(
            "no parameter to deliver to: add one without an attribute, such as `ports: [HeldPort; {count}]`; if \
             an attribute above has taken it away, move `#[with_ports]` above that one"
        );
        Error::new(function.sig.ident.span(), missing)
    })
}

fn take_named(function: &mut ItemFn, name: &Ident) -> Result<PatType> {
    let is_called_so = |parameter: &PatType| matches!(&*parameter.pat, Pat::Ident(pattern) if pattern.ident.unraw() == name.unraw());
    position(function, is_called_so).map(|place| take(function, place)).ok_or_else(|| {
        let missing = format!(
            "no parameter is called `{name}`: add one, such as `{name}: HeldPort` (how many ports is written as a \
             number, `#[with_ports(2)]`)"
        );
        Error::new(name.span(), missing)
    })
}

/// A mark that is left over has no meaning.
fn refuse_marks(function: &ItemFn, reason: &str) -> Result<()> {
    match function.sig.inputs.iter().find_map(|input| typed(input).and_then(mark_of)) {
        Some(mark) => Err(Error::new_spanned(mark, reason)),
        None => Ok(()),
    }
}

fn position(function: &ItemFn, is_it: impl Fn(&PatType) -> bool) -> Option<usize> {
    function.sig.inputs.iter().position(|input| typed(input).is_some_and(&is_it))
}

fn typed(input: &FnArg) -> Option<&PatType> {
    match input {
        FnArg::Typed(parameter) => Some(parameter),
        FnArg::Receiver(_) => None,
    }
}

fn mark_of(parameter: &PatType) -> Option<&Attribute> {
    parameter.attrs.iter().find(|attribute| attribute.path().is_ident(MARK))
}

/// Takes the (typed) parameter at `place` out of the function, without its mark.
fn take(function: &mut ItemFn, place: usize) -> PatType {
    let mut inputs: Vec<FnArg> = mem::take(&mut function.sig.inputs).into_iter().collect();
    let taken = inputs.remove(place);
    function.sig.inputs = inputs.into_iter().collect();
    let FnArg::Typed(mut parameter) = taken else { unreachable!("`position` finds typed ones") };
    parameter.attrs.retain(|attribute| !attribute.path().is_ident(MARK));
    parameter
}
