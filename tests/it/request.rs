//! Requests for ports, as people write them.

use std::collections::{BTreeSet, HashSet};

use heldport::{Error, HeldPort, Port, PortAllocator, PortRange, PortRequest, Result, WellKnown};
use proptest::prelude::*;

use crate::support::private_block;

#[track_caller]
fn parsed(text: &str) -> PortRequest {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// As the allocator's builder takes requests.
fn made(from: impl TryInto<PortRequest, Error: Into<Error>>) -> Result<String> {
    from.try_into().map(|request| request.to_string()).map_err(Into::into)
}

#[test]
fn what_is_understood_and_how_it_is_written() {
    for (text, written) in [
        ("any", "any"),
        (" any , any ", "any"),
        ("8000", "8000"),
        ("8000-8100", "8000-8100"),
        ("8000 - 8100", "8000-8100"),
        ("8000..=8100", "8000-8100"),
        ("8000..8101", "8000-8100"),
        ("8000..", "8000-65535"),
        ("7777-7777", "7777-7777"),
        ("8000-8100,9000,9100-9200", "8000-8100,9000,9100-9200"),
        ("\t9000,\n8000 ", "9000,8000"),
        ("7777,any", "7777,any"),
        ("any,7777,any", "any,7777"),
        ("prefer=7777", "prefer=7777"),
        ("prefer = 8050, 8000-8100", "8000-8100,prefer=8050"),
        ("!5432", "any,!5432"),
        ("any,! 6000-6010 ,!6012,!6011", "any,!6000-6012"),
        ("prefer=7777,!7779..,!7778..=7778", "prefer=7777,!7778-65535"),
        (
            "any,!brokers",
            "any,!1883,!4222,!5671-5672,!6222,!6650,!8222,!8883,!9092-9094,!15671-15672,!19092,\
                          !25672,!61613,!61616",
        ),
        ("5432-5432,+well-known", "5432-5432,+well-known"),
        ("+well-known", "any,+well-known"),
    ] {
        let request = parsed(text);
        assert_eq!(request.to_string(), written);
        assert_eq!(parsed(written), request);
    }
    assert_eq!(parsed("any"), PortRequest::default());
    assert_eq!(PortRequest::any(), PortRequest::default());
}

#[test]
fn mistakes_name_what_was_written_and_how_to_mend_it() {
    for (text, about, mend) in [
        ("", "\"\"", "it is empty: write `any`"),
        (" ", "\"\"", "it is empty: write `any`"),
        ("8000,,9000", "\"8000,,9000\"", "a part is missing"),
        ("8000,", "\"8000,\"", "a part is missing"),
        ("0", "request \"0\"", "write `any`"),
        ("8000,00", "request \"00\"", "write `any`"),
        ("8000,70000", "\"70000\"", "1 to 65535"),
        ("99999999999999999999", "\"99999999999999999999\"", "1 to 65535"),
        ("9000,8100-8000", "range 8100-8000 ", "write the lower number first"),
        ("8100..=8000", "range 8100..=8000 ", "write the lower number first"),
        ("8000..8000", "range 8000..8000 ", "it is empty"),
        ("0-8000", "range 0-8000 ", "start at 1"),
        ("8000-70000", "range 8000-70000 ", "1 to 65535"),
        ("8080;9090", "\"8080;9090\"", "with commas: `8080,9090`"),
        ("8080 9090-9100", "\"8080 9090-9100\"", "with commas: `8080,9090`"),
        ("8080|9090", "\"8080|9090\"", "with commas: `8080,9090`"),
        ("8080:8090", "\"8080:8090\"", "a range is written `8080-8090`"),
        ("8080–8090", "\"8080–8090\"", "a range is written `8080-8090`"),
        ("http", "\"http\"", "a number, a range"),
        ("-1", "\"-1\"", "a number, a range"),
        ("+80", "\"+80\"", "a number, a range"),
        ("8000-", "\"8000-\"", "a number, a range"),
        ("..8000", "\"..8000\"", "a number, a range"),
        ("databases", "\"databases\"", "`!databases`"),
        ("!", "\"!\"", "`brokers`"),
        ("!database", "\"!database\"", "`databases`"),
        ("!0", "\"0\"", "1 to 65535"),
        ("!9-8", "range 9-8 ", "write the lower number first"),
        ("prefer=", "\"\"", "1 to 65535"),
        ("prefer=x", "\"x\"", "1 to 65535"),
        ("preferred=80", "\"preferred=80\"", "`prefer=8080`"),
        ("prefer=80,prefer=81", "\"prefer=81\"", "one number can be preferred"),
        ("any,prefer=7777", "\"any,prefer=7777\"", "write `7777,any`"),
        ("prefer=7777,8000,any", "\"prefer=7777,8000,any\"", "write `7777,any`"),
        ("8000-8100,prefer=7777", "\"8000-8100,prefer=7777\"", "preferred number is not in the range"),
        ("8000,!00", "\"00\"", "1 to 65535"),
        ("8000-8100,prefer=8050,!8050", "\"8000-8100,prefer=8050,!8050\"", "preferred number is excluded"),
        ("prefer=8050,!8000-8100", "\"prefer=8050,!8000-8100\"", "preferred number is excluded"),
        ("5432..=5433,!5433", "5432..=5433,!5433", "every number of it is excluded"),
        ("8080-8081", "8080-8081", "in text with `+well-known`"),
        ("9000,!9000", "9000,!9000", "every number of it is excluded"),
        ("!1..", "!1..", "every number of it is excluded"),
        ("any,!1024..", "any,!1024..", "every number of it is excluded"),
    ] {
        let error = text.parse::<PortRequest>().expect_err(text).to_string();
        assert!(error.contains(about) && error.contains(mend), "{text}: {error}");
    }
}

#[test]
#[expect(clippy::needless_borrows_for_generic_args, reason = "references are under test")]
fn what_people_have_is_taken() {
    let port = Port::new(9000).unwrap();
    let texts = [
        (made(8000), "8000"),
        (made(8000..=8100), "8000-8100"),
        (made(8000..8101), "8000-8100"),
        (made(65_530..), "65530-65535"),
        (made("8000-8100,9000"), "8000-8100,9000"),
        (made("any".to_owned()), "any"),
        (made([9000, 8000]), "9000,8000"),
        (made(&[9000, 8000][..]), "9000,8000"),
        (made(&[9000, 8000]), "9000,8000"),
        (made(&vec![9000, 8000]), "9000,8000"),
        (made(&"8000-8100".to_owned()), "8000-8100"),
        (made(&parsed("8000-8100,!8042")), "8000-8100,!8042"),
        (made(vec![9000, 8000]), "9000,8000"),
        (made(HashSet::from([9000, 9001, 8000, 7000])), "7000,8000,9000,9001"),
        (made(BTreeSet::from([9000, 8000])), "8000,9000"),
        (made([8000..=8100, 7000..=7100]), "8000-8100,7000-7100"),
        (made(vec![8000..=8100, 7000..=7100]), "8000-8100,7000-7100"),
        (made(port), "9000"),
        (made(PortRange::new(8000..=8100).unwrap()), "8000-8100"),
        (made(PortRequest::any()), "any"),
        // Well-known, and asked for by themselves.
        (made(5432), "5432"),
        (made([80, 5432]), "80,5432"),
    ];
    for (made, text) in texts {
        let made = made.unwrap();
        assert_eq!(made, text);
        assert_eq!(parsed(&made), parsed(text));
    }
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "the mistake under test")]
fn what_cannot_be_had_is_refused_in_code_too() {
    let refused = [
        (made(0), "\"0\"", "write `any`"),
        (made([8000, 0]), "\"0\"", "write `any`"),
        (made([0_u16; 0]), "\"\"", "it is empty"),
        (made(Vec::<u16>::new()), "\"\"", "it is empty"),
        (made(HashSet::<u16>::new()), "\"\"", "it is empty"),
        (made(8100..=8000), "8100..=8000", "write the lower number first"),
        (made(8000..8000), "8000..8000", "it is empty"),
        (made(0..=8000), "0..=8000", "start at 1"),
        (made([8000..=8100, 9..=8]), "9..=8", "write the lower number first"),
        (made(5432..=5432), "5432..=5432", "exclude_well_known(false)"),
        (made(PortRange::new(8080..=8081).unwrap()), "8080..=8081", "every number of it is excluded"),
        (made("nonsense"), "\"nonsense\"", "a number, a range"),
    ];
    for (made, about, mend) in refused {
        let error = made.unwrap_err().to_string();
        assert!(error.contains(about) && error.contains(mend), "{error}");
    }
}

#[test]
fn settings_are_checked_against_each_other() -> Result<()> {
    let range = PortRequest::try_from(8000..=8100)?;
    let request = range.clone().prefer(8050)?.exclude(8060..8070)?.exclude([8070, 8003])?;
    assert_eq!(request, parsed("8000-8100,prefer=8050,!8003,!8060-8070"));
    assert_eq!(range.clone().exclude([8001, 8001, 8002])?, range.clone().exclude([8002])?.exclude([8001])?);
    assert_eq!(PortRequest::any().exclude(WellKnown::Databases)?, parsed("!databases"));
    assert_eq!(PortRequest::any().exclude_well_known(false)?, parsed("+well-known"));
    assert_eq!(PortRequest::any().prefer(7777)?, parsed("prefer=7777"));
    for (refused, why) in [
        (range.clone().prefer(7777), "`prefer` cannot be used: the preferred number is not in the range"),
        (range.clone().prefer(8050)?.exclude([8050]), "the preferred number is excluded"),
        (range.clone().exclude([8050])?.prefer(8050), "the preferred number is excluded"),
        (range.clone().prefer(0), "\"0\" is no port"),
        (range.clone().exclude([8000, 0]), "\"0\" is no port"),
        (range.exclude(8000..=8100), "8000..=8100"),
        (parsed("7777,any").prefer(7777), "write `7777,any`"),
        (parsed("8080-8081,+well-known").exclude_well_known(true), "every number of it is excluded"),
        (PortRequest::any().exclude(1..=65_535), "every number of it is excluded"),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    Ok(())
}

#[test]
fn the_sets_have_names_and_are_left_alone() {
    for set in WellKnown::ALL {
        assert_eq!(set.to_string().parse::<WellKnown>().unwrap(), *set);
        let numbers: Vec<_> = set.into_iter().collect();
        assert!(numbers.iter().all(|port| set.contains(*port)));
        assert_eq!(numbers.len(), set.ports().map(|range| range.len()).sum::<usize>());
        let error = "no such".parse::<WellKnown>().unwrap_err().to_string();
        assert!(error.contains("\"no such\"") && error.contains(&format!("`{set}`")), "{error}");
        assert!(set.ports().all(|range| PortRequest::try_from(range).is_err()), "{set}");
    }
    for (set, port) in [
        (WellKnown::Privileged, 443),
        (WellKnown::Databases, 27_017),
        (WellKnown::Brokers, 9092),
        (WellKnown::Web, 8080),
        (WellKnown::Infrastructure, 2375),
    ] {
        let others = WellKnown::ALL.iter().filter(|other| other.contains(port));
        assert_eq!(others.collect::<Vec<_>>(), [&set], "{port}");
    }
}

#[test]
fn what_browsers_block_is_the_standards_list() {
    // "Bad ports" of the Fetch standard, from 1024 up.
    let bad = [
        1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679,
        6697, 10_080,
    ];
    assert!(WellKnown::Browsers.into_iter().eq(bad));
}

#[cfg(feature = "serde")]
#[test]
fn requests_are_read_from_texts_numbers_and_lists() {
    for (json, text) in [
        ("\"8000-8100, any\"", "8000-8100,any"),
        ("8000", "8000"),
        ("[9000, \"8000-8100\", \"!8050\"]", "9000,8000-8100,!8050"),
    ] {
        let request: PortRequest = serde_json::from_str(json).unwrap();
        assert_eq!(request, parsed(text));
        assert_eq!(serde_json::to_value(&request).unwrap(), text);
    }
    let neither = "a number, a text (`8000-8100,any`), or a list";
    for (json, why) in [
        ("70000", "\"70000\""),
        ("-1", "\"-1\""),
        ("[]", "it is empty"),
        ("\"x\"", "\"x\""),
        ("8000.5", neither),
        ("[[8000]]", neither),
        ("{\"range\": 8000}", neither),
    ] {
        let error = serde_json::from_str::<PortRequest>(json).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// Tokens that are understood by themselves, though not always together.
fn token() -> impl Strategy<Value = String> {
    let port = || prop_oneof![1..=u16::MAX, 7990..8010_u16];
    let ends = || (port(), 0..20_u16).prop_map(|(first, more)| (first, first.saturating_add(more)));
    let set = prop::sample::select(WellKnown::ALL);
    prop_oneof![
        5 => port().prop_map(|port| port.to_string()),
        5 => ends().prop_map(|(first, last)| format!("{first}-{last}")),
        1 => ends().prop_map(|(first, last)| format!("{first}..={last}")),
        1 => port().prop_map(|first| format!("{first}..")),
        1 => Just("any".to_owned()),
        1 => port().prop_map(|port| format!("prefer={port}")),
        2 => ends().prop_map(|(first, last)| format!("!{first}-{last}")),
        1 => set.prop_map(|set| format!("!{set}")),
        1 => Just("+well-known".to_owned()),
    ]
}

fn tokens() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(token(), 1..6)
}

/// What is never understood, wherever it stands.
fn nonsense() -> impl Strategy<Value = String> {
    prop_oneof![
        (65_536..u64::MAX).prop_map(|number| number.to_string()),
        (2..=u16::MAX).prop_map(|first| format!("{first}-{}", first - 1)),
        "[a-z]{1,2}",
        "[0-9]{1,4}[;: /][0-9]{1,4}",
        "[!+=-]{1,3}[0-9]{5}-",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_request_that_is_written_is_read_as_the_same(tokens in tokens()) {
        if let Ok(request) = tokens.join(",").parse::<PortRequest>() {
            prop_assert_eq!(&request.to_string().parse::<PortRequest>().unwrap(), &request);
            #[cfg(feature = "serde")]
            {
                let json = serde_json::to_string(&request).unwrap();
                prop_assert_eq!(serde_json::from_str::<PortRequest>(&json).unwrap(), request);
            }
        }
    }

    #[test]
    fn spaces_and_the_order_of_settings_change_nothing(tokens in tokens(), spaces in "[ \t]{0,2}") {
        let is_part = |token: &&String| !token.starts_with(['!', '+', 'p']);
        let (parts, settings): (Vec<_>, Vec<_>) = tokens.iter().partition(is_part);
        let turned: Vec<_> = settings.into_iter().rev().chain(parts).cloned().collect();
        let (one, other) = (tokens.join(","), turned.join(&format!("{spaces},{spaces}")));
        prop_assert_eq!(one.parse::<PortRequest>().ok(), other.parse::<PortRequest>().ok());
    }

    #[test]
    fn an_error_tells_what_was_not_understood(
        tokens in tokens(),
        nonsense in nonsense(),
        place in any::<prop::sample::Index>(),
    ) {
        let mut tokens: Vec<_> = tokens.into_iter().filter(|token| !token.starts_with("prefer")).collect();
        tokens.insert(place.index(tokens.len() + 1), nonsense.clone());
        let error = tokens.join(",").parse::<PortRequest>().unwrap_err().to_string();
        prop_assert!(error.contains(&nonsense), "{error}");
    }

    #[test]
    fn no_text_is_too_odd(text in prop_oneof!["[0-9.,=!+ any-]{0,12}", ".{0,12}"]) {
        match text.parse::<PortRequest>() {
            Ok(request) => prop_assert_eq!(request.to_string().parse::<PortRequest>().unwrap(), request),
            Err(error) => {
                // As it is quoted there.
                let quoted = |token: &str| format!("{token:?}").trim_matches('"').to_owned();
                let tells = |token: &str| error.to_string().contains(&quoted(token));
                let trimmed = text.split(',').map(|token| token.trim().trim_start_matches('!').trim());
                prop_assert!(trimmed.into_iter().any(tells), "{text:?}: {error}");
            }
        }
    }

    #[test]
    fn lists_are_taken_in_their_order(ports in prop::collection::vec(1..=u16::MAX, 1..10)) {
        let text = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        prop_assert_eq!(PortRequest::try_from(ports).unwrap(), text.parse().unwrap());
    }
}

#[test]
fn what_was_said_before_a_request_holds_for_it_too() {
    let (host, range) = private_block(4);
    let first = *range.start();
    let builder = PortAllocator::builder().host(host).exclude([first]).prefer(first + 2);
    let allocator = builder.request(range).build().unwrap();
    let numbers: Vec<_> = allocator.acquire_many(3).unwrap().iter().map(HeldPort::port).collect();
    assert_eq!(numbers, [first + 2, first + 3, first + 1]);

    let allowed = PortAllocator::builder().host(host).exclude_well_known(false).request("9000-9001");
    let ports = allowed.build().unwrap().acquire_many(2).unwrap();
    assert!(ports.iter().any(|port| port.port() == 9000));

    let error = PortAllocator::builder().prefer(first).request("9002-9003").build().unwrap_err();
    assert!(error.to_string().contains("the preferred number is not in the range"), "{error}");
}
