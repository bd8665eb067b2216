//! What the old `docker-compose` prints, as JSON. It is written by a library that knows YAML 1.1, so that a word
//! without quotes means what that takes it for: `1e3` and `0o17` are text there, and numbers in YAML 1.2.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// As deep as JSON is read: what is nested deeper would end the thread that drops it.
const DEEPEST: usize = 128;

/// A list or mapping that has not ended, and the number of its anchor.
enum Open {
    List(Vec<Value>, usize),
    Mapping(Map<String, Value>, Option<String>, usize),
}

/// The first document.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let (mut open, mut anchors) = (Vec::new(), HashMap::new());
    for event in Parser::new_from_str(text) {
        if open.len() == DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let (value, anchor) = match event.map_err(|e| e.to_string())?.0 {
            Event::SequenceStart(anchor, _) => {
                open.push(Open::List(Vec::new(), anchor));
                continue;
            }
            Event::MappingStart(anchor, _) => {
                open.push(Open::Mapping(Map::new(), None, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list, anchor)) => (Value::Array(list), anchor),
                Some(Open::Mapping(mapping, _, anchor)) => (Value::Object(mapping), anchor),
                None => return Err("something ends that has not begun".to_owned()),
            },
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::Alias(anchor) => (anchors.get(&anchor).cloned().unwrap_or_default(), 0),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
        };
        if anchor != 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            None => return Ok(value),
            Some(Open::List(list, _)) => list.push(value),
            Some(Open::Mapping(mapping, key, _)) => match key.take() {
                Some(key) => drop(mapping.insert(key, value)),
                None => *key = Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            },
        }
    }
    Err("it is empty".to_owned())
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let word = || match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number(text).map_or_else(|| text.into(), Value::Number),
    };
    if style == ScalarStyle::Plain { word() } else { text.into() }
}

/// As that library writes them: digits, perhaps with a point.
fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_whole {
        return (digits == "0" || !digits.starts_with('0')).then(|| text.parse().ok()).flatten();
    }
    let has_point = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.contains('.');
    has_point.then(|| text.parse().ok()).flatten().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn words_mean_what_the_old_command_takes_them_for() {
        let text = "
services:
  db:
    environment: {A: 1e3, B: 'yes', C: 0o17, D: '0755', E: null, F: 1.5, G: 10.0.0.1, H: \"true\"}
    ports:
    - published: 5432
      target: 6379
    - 127.0.0.1:8081:81/udp
    init: true
    labels: &id001
      a: b$$c
  web:
    labels: *id001
    command: |
      two
      lines
";
        let expected = json!({ "services": {
            "db": {
                "environment": {
                    "A": "1e3", "B": "yes", "C": "0o17", "D": "0755", "E": null, "F": 1.5, "G": "10.0.0.1", "H": "true",
                },
                "ports": [{ "published": 5432, "target": 6379 }, "127.0.0.1:8081:81/udp"],
                "init": true,
                "labels": { "a": "b$$c" },
            },
            "web": { "labels": { "a": "b$$c" }, "command": "two\nlines\n" },
        } });
        assert_eq!(parse(text).unwrap(), expected);
        parse("").unwrap_err();
        parse("a: [").unwrap_err();
    }

    /// In a directory below what is mounted, which is there, as one user.
    #[test]
    fn the_manifest_for_kubernetes_that_is_shipped_says_where_leases_are() {
        let job = parse(include_str!("../../../examples/shared_leases/kubernetes.yml")).unwrap();
        let pod = &job["spec"]["template"]["spec"];
        let names = |list: &Value| -> Vec<Value> {
            list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect()
        };
        assert_eq!((&job["kind"], &pod["securityContext"]["runAsUser"]), (&json!("Job"), &json!(1000)));
        let volumes = names(&pod["volumes"]);
        for container in [&pod["initContainers"][0], &pod["containers"][0]] {
            let mounted = names(&container["volumeMounts"]);
            assert!(mounted.contains(&json!("leases")) && mounted.iter().all(|name| volumes.contains(name)));
            assert_eq!(container["volumeMounts"][0], json!({ "name": "leases", "mountPath": "/leases" }));
        }
        let env = &pod["containers"][0]["env"];
        assert_eq!(env, &json!([{ "name": "HELDPORT_LEASES", "value": "/leases/ports" }]));
        assert_eq!(
            pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"]
                ["matchLabels"],
            job["spec"]["template"]["metadata"]["labels"]
        );
    }

    const FILE: &str = "services:\n  db:\n    environment: {A: 1e3, B: 'yes', C: 1.5, D: null}\n    ports:\n    - published: \
        5432\n      target: 6379\n    labels: &id001\n      a: b$$c\n  web:\n    labels: *id001\n    command: |\n      two\n      lines\n";

    /// What is the same in JSON and in YAML.
    fn json() -> impl Strategy<Value = Value> {
        let text = || "[ -~é]{0,8}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            text().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array);
            let mapping = prop::collection::vec((text(), inner), 0..5);
            prop_oneof![list, mapping.prop_map(|all| Value::Object(all.into_iter().collect()))]
        })
    }

    proptest! {
        #[test]
        fn json_is_read_as_what_it_is(json in json()) {
            prop_assert_eq!(parse(&json.to_string()), Ok(json));
        }

        #[test]
        fn no_file_is_too_odd(text in near::text(&[FILE, "{a: [1, {b: c}], d: ~}", "? x\n: y\n--- !!str\n...\n"])) {
            let _ = parse(&text);
        }
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        for piece in ["[", "{a: ", "- ", "? "] {
            assert!(parse(&piece.repeat(100_000)).is_err(), "{piece}");
        }
        let lists = |deep| format!("{}1{}", "[".repeat(deep), "]".repeat(deep));
        assert_eq!(parse(&lists(DEEPEST)).unwrap_err(), "it is nested too deeply");
        assert!(parse(&lists(DEEPEST - 1)).is_ok());
    }
}
