//! Texts in which `{port}` and the like stand for what is known only when a node starts.

use std::path::Path;

use super::NodePorts;
use crate::error::{Error, Result};

/// What the words stand for.
pub(crate) struct Values<'a> {
    pub(crate) ports: &'a NodePorts,
    pub(crate) directory: Option<&'a Path>,
}

/// Whether a text names the node's directory.
pub(crate) fn needs_directory(text: &str) -> bool {
    text.contains("{dir}")
}

/// Puts the values in. All other braces stay as they are: they belong to the program's own language.
pub(crate) fn render(text: &str, values: &Values<'_>) -> Result<String> {
    let (mut rendered, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find('{') {
        rendered += &rest[..start];
        rest = &rest[start..];
        let word = rest[1..].split_once('}').map(|(word, _)| word).filter(|word| !word.contains('{'));
        let value = word.map(|word| value(word, values)).transpose()?.flatten();
        let (put, len) = match (word, value) {
            (Some(word), Some(value)) => (value, word.len() + 2),
            _ => ("{".to_owned(), 1),
        };
        rendered += &put;
        rest = &rest[len..];
    }
    Ok(rendered + rest)
}

/// What a word between braces stands for, if it is one of ours.
fn value(word: &str, values: &Values<'_>) -> Result<Option<String>> {
    let (kind, name) = word.split_once(':').map_or((word, None), |(kind, name)| (kind, Some(name)));
    if !["port", "addr"].contains(&kind) {
        let directory = values.directory.filter(|_| word == "dir");
        return Ok(directory.map(|directory| directory.display().to_string()));
    }
    // The first is meant by no name, though another may be called "1".
    let port = name.map_or_else(|| values.ports.all().first(), |name| values.ports.find(name));
    let Some(port) = port else {
        return Err(Error::no_such_port(format!("{{{word}}}"), &values.ports.names()));
    };
    Ok(Some(if kind == "port" { port.addr.port().to_string() } else { port.addr.to_string() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::HeldPort;
    use crate::near;
    use proptest::prelude::*;

    fn render_with(text: &str) -> (NodePorts, Result<String>) {
        let held = [HeldPort::acquire().unwrap(), HeldPort::acquire().unwrap()];
        let ports = NodePorts::named(&[None, Some("grpc")], &held);
        let rendered = render(text, &Values { ports: &ports, directory: Some(Path::new("/d")) });
        (ports, rendered)
    }

    #[test]
    fn ports_addresses_and_the_directory_are_put_in() {
        let (ports, rendered) = render_with("{port} {port:1}{addr:grpc},{port:2},{dir}/x");
        let (first, second) = (ports.addr(), ports.addr_of("grpc"));
        let expected = format!("{0} {0}{second},{1},/d/x", first.port(), second.port());
        assert_eq!(rendered.unwrap(), expected);
    }

    #[test]
    fn without_a_name_it_is_the_first_port_whatever_others_are_called() {
        let held = [HeldPort::acquire().unwrap(), HeldPort::acquire().unwrap()];
        let ports = NodePorts::named(&[Some("api"), Some("1")], &held);
        let rendered = render("{port} {port:1}", &Values { ports: &ports, directory: None });
        assert_eq!(rendered.unwrap(), format!("{} {}", ports.port("api"), ports.port("1")));
    }

    #[test]
    fn all_other_braces_stay() {
        for text in [
            "",
            "{",
            "}",
            "{}",
            "http { server { a } }",
            "{\"a\": {\"b\": 1}}",
            "${HOME} {ports} {dir",
            "é{é}",
        ] {
            assert_eq!(render_with(text).1.unwrap(), text);
        }
        let (ports, rendered) = render_with("{{port}}{x{port}");
        let port = ports.addr().port();
        assert_eq!(rendered.unwrap(), format!("{{{port}}}{{x{port}"));
    }

    #[test]
    fn a_port_that_the_node_does_not_have_is_an_error() {
        for text in ["{port:grcp}", "{addr:3}", "{port:0}", "{port:}"] {
            let error = render_with(text).1.unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("grpc"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn only_what_has_a_meaning_is_replaced(texts in prop::collection::vec(
            near::text(&["{port}", "http://{addr:grpc}/{x}", "{{dir}/a}", "{port:1}{port:2}", "${A} { a }"]), 20,
        )) {
            let held = [HeldPort::acquire().unwrap(), HeldPort::acquire().unwrap()];
            let ports = NodePorts::named(&[None, Some("grpc")], &held);
            let values = Values { ports: &ports, directory: Some(Path::new("/d")) };
            for text in texts {
                let has_word = ["{port", "{addr", "{dir}"].iter().any(|word| text.contains(word));
                match render(&text, &values) {
                    Ok(rendered) => prop_assert!(has_word || rendered == text, "{} from {}", rendered, text),
                    Err(e) => prop_assert!(has_word, "{}", e),
                }
            }
        }
    }
}
