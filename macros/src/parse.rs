//! What stands in the attribute's parentheses.

use std::net::IpAddr;

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Ident, ItemFn, Lit, LitBool, LitInt, Path, Result, Token};

/// What a test asks for.
pub(crate) struct Request {
    pub(crate) ports: Ports,
    pub(crate) options: Options,
}

/// How many ports, and where they go.
pub(crate) enum Ports {
    /// So many, for one parameter.
    Count(u16),
    /// One for each parameter that is called so.
    Named(Vec<Named>),
}

pub(crate) struct Named {
    pub(crate) name: Ident,
    pub(crate) protocol: Option<Protocol>,
}

/// The variants of heldport's own.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    TcpAndUdp,
}

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) block: bool,
    pub(crate) range: Option<Expr>,
    pub(crate) host: Option<Host>,
    pub(crate) prefer: Option<Expr>,
    /// Where `heldport` is found, if not under its own name.
    pub(crate) krate: Option<Path>,
    /// Those given so far.
    seen: Vec<Ident>,
}

/// The addresses to hold.
pub(crate) enum Host {
    Loopback,
    Any,
    Written(IpAddr),
    /// Whatever becomes an `IpAddr`.
    One(Expr),
}

const OPTIONS: [&str; 5] = ["block", "range", "host", "prefer", "crate"];

/// Words that differ by more have nothing to do with each other.
const ALIKE: f64 = 0.5;

pub(crate) fn function(item: TokenStream) -> Result<ItemFn> {
    let span = Span::call_site();
    syn::parse2(item).map_err(|error| {
        let mut all = Error::new(span, "`#[with_ports]` belongs on a test function, above `#[test]`");
        all.combine(error);
        all
    })
}

pub(crate) fn request(arguments: TokenStream) -> Result<Request> {
    parse_request.parse2(arguments)
}

fn parse_request(input: ParseStream<'_>) -> Result<Request> {
    let (mut count, mut names, mut options) = (None, Vec::new(), Options::default());
    while !input.is_empty() {
        if input.peek(LitInt) {
            let literal: LitInt = input.parse()?;
            let again = count.replace(parse_count(&literal)?).is_some();
            if again {
                return Err(Error::new(literal.span(), "how many ports was said already"));
            }
        } else if input.peek(Ident::peek_any) {
            let word = input.call(Ident::parse_any)?;
            if input.peek(Token![=]) {
                input.parse::<Token![=]>()?;
                options.set(word, input)?;
            } else {
                names.push(name(word, &names, input)?);
            }
        } else {
            return Err(input.error(
                "expected how many ports (`2`), their names (`http, grpc`), or an option (`range = 20000..=20100`)",
            ));
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    let ports = match (count, names.first()) {
        (Some(count), None) => Ports::Count(count),
        (None, Some(_)) => Ports::Named(names),
        (Some(_), Some(Named { name, .. })) => {
            let reason = if OPTIONS.iter().any(|option| name == option) {
                format!("the option `{name}` needs a value: `{name} = …`")
            } else {
                "give either how many ports, or their names: not both".to_owned()
            };
            return Err(Error::new(name.span(), reason));
        }
        (None, None) => {
            let missing = "say how many ports: `#[with_ports(2)]`, or name them: `#[with_ports(http, grpc)]`";
            return Err(Error::new(Span::call_site(), missing));
        }
    };
    Ok(Request { ports, options })
}

fn parse_count(literal: &LitInt) -> Result<u16> {
    match literal.base10_parse() {
        Ok(0) => {
            let none = "0 ports leave nothing to deliver: ask for 1 or more, or remove `#[with_ports]`";
            Err(Error::new(literal.span(), none))
        }
        Ok(count) => Ok(count),
        Err(_) => Err(Error::new(literal.span(), "this is no number of ports: ask for 1 to 65535")),
    }
}

/// A port's name, and its protocol if that is said.
fn name(name: Ident, names: &[Named], input: ParseStream<'_>) -> Result<Named> {
    if names.iter().any(|named| named.name == name) {
        return Err(Error::new(
            name.span(),
            format!("two ports are named `{name}`: each needs its own name"),
        ));
    }
    let colon = input.parse::<Option<Token![:]>>()?;
    let protocol = colon.map(|_| protocol(input)).transpose()?;
    Ok(Named { name, protocol })
}

fn protocol(input: ParseStream<'_>) -> Result<Protocol> {
    const KNOWN: &str = "give `tcp`, `udp`, or `both` for the two on one number";
    let word = Ident::parse_any(input).map_err(|error| Error::new(error.span(), KNOWN))?;
    match word.to_string().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "both" => Ok(Protocol::TcpAndUdp),
        unknown => Err(Error::new(word.span(), format!("there is no protocol `{unknown}`: {KNOWN}"))),
    }
}

impl Options {
    fn set(&mut self, option: Ident, input: ParseStream<'_>) -> Result<()> {
        if self.seen.contains(&option) {
            return Err(Error::new(option.span(), format!("`{option}` was given already")));
        }
        match option.to_string().as_str() {
            "block" => self.block = input.parse::<LitBool>()?.value,
            "range" => self.range = Some(input.parse()?),
            "host" => self.host = Some(host(input.parse()?)?),
            "prefer" => self.prefer = Some(input.parse()?),
            "crate" => self.krate = Some(input.parse()?),
            unknown => return Err(Error::new(option.span(), unknown_option(unknown))),
        }
        self.seen.push(option);
        Ok(())
    }
}

fn unknown_option(word: &str) -> String {
    let likeness = |option: &str| strsim::normalized_damerau_levenshtein(word, option);
    let nearest = OPTIONS.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|option| likeness(option) >= ALIKE) {
        Some(option) => format!("there is no option `{word}`: did you mean `{option}`?"),
        None => format!("there is no option `{word}`: there are `{}`", OPTIONS.join("`, `")),
    }
}

/// A text is looked at here, so that a mistake in it is found when the test is compiled.
fn host(value: Expr) -> Result<Host> {
    let Expr::Lit(literal) = &value else { return Ok(Host::One(value)) };
    let Lit::Str(text) = &literal.lit else { return Ok(Host::One(value)) };
    match text.value().as_str() {
        "loopback" => Ok(Host::Loopback),
        "any" => Ok(Host::Any),
        address => address.parse().map(Host::Written).map_err(|_| {
            let known = "give `\"loopback\"`, `\"any\"`, or an address such as `\"127.0.0.2\"`";
            Error::new(text.span(), format!("{address:?} is no host: {known}"))
        }),
    }
}
