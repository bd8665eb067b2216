//! What images are called.

/// An image's name, and which of those with the name: what the engine is asked to pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// With the registry, if it has one.
    pub(super) name: String,
    /// A tag, or a digest with its algorithm.
    pub(super) version: String,
}

impl Reference {
    /// As the docker command reads it: `name`, `name:tag`, `registry:port/path/name@sha256:…`. Without a tag, it is
    /// `latest`; with a digest, a tag has no meaning.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(image: &str) -> Result<Self, &'static str> {
        // Pulled without one, every tag of a name would come.
        const NAMELESS: &str = "it has no name: write it as `redis`, `redis:7` or `registry:5000/redis`";
        if image.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("there is a space in it");
        }
        if image.contains(['?', '#', '%']) {
            return Err("it has a character that no image has in its name");
        }
        let (named, digest) =
            image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
        // A colon before the last slash is that of the registry's port.
        let last = named.rfind('/').map_or(0, |slash| slash + 1);
        let colon = named[last..].find(':').map(|colon| last + colon);
        let (name, tag) = colon.map_or((named, None), |colon| (&named[..colon], Some(&named[colon + 1..])));
        if name.is_empty() || name.split('/').any(str::is_empty) {
            return Err(NAMELESS);
        }
        if tag.is_some_and(|tag| tag.is_empty() || tag.contains(':')) {
            return Err("its tag is not one: write `name:tag`, or `name` for `latest`");
        }
        if name[last..].contains(char::is_uppercase) {
            return Err("names of images are written in small letters");
        }
        let version = match digest {
            Some(digest) if !is_digest(digest) => {
                return Err("its digest is not one: write `name@sha256:` and 64 digits");
            }
            Some(digest) => digest,
            None => tag.unwrap_or("latest"),
        };
        Ok(Self { name: name.to_owned(), version: version.to_owned() })
    }
}

fn is_digest(digest: &str) -> bool {
    let is_hex = |hex: &str| hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    digest.split_once(':').is_some_and(|(algorithm, hex)| !algorithm.is_empty() && is_hex(hex))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use proptest::prelude::*;

    #[test]
    fn a_reference_is_a_name_and_a_tag_or_digest() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        for (written, name, version) in [
            ("redis", "redis", "latest"),
            ("redis:7", "redis", "7"),
            ("library/redis:7-alpine", "library/redis", "7-alpine"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x", "latest"),
            ("127.0.0.1:5000/x:1.0", "127.0.0.1:5000/x", "1.0"),
            ("[::1]:5000/team/x:1", "[::1]:5000/team/x", "1"),
            ("Registry.example/x", "Registry.example/x", "latest"),
            ("ghcr.io/a/b/c:D", "ghcr.io/a/b/c", "D"),
            (&format!("redis@{digest}"), "redis", &digest),
            (&format!("localhost:5000/redis:7@{digest}"), "localhost:5000/redis", &digest),
        ] {
            let expected = Reference { name: name.into(), version: version.into() };
            assert_eq!(Reference::parse(written), Ok(expected), "{written}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for written in [
            "",
            ":7",
            "/redis",
            "redis/",
            "a//b",
            "redis:",
            "redis:7:8",
            "redis 7",
            "redis\n",
            "Redis",
            "a/B",
            "redis@",
            "redis@sha256",
            "redis@sha256:12",
            "redis@7",
            "redis?tag=7",
            "redis#7",
            "a%2fb",
            "@",
            "redis/:7",
        ] {
            assert!(Reference::parse(written).is_err(), "{written:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_and_a_version_are_a_reference_again(written in near::text(&[
            "library/redis:7-alpine", "127.0.0.1:5000/x:1.0", "[::1]:5000/team/x", "ghcr.io/a/b/c:D",
            "redis:7@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ])) {
            if let Ok(reference) = Reference::parse(&written) {
                let Reference { name, version } = &reference;
                let again = [format!("{name}:{version}"), format!("{name}@{version}")].map(|text| Reference::parse(&text));
                prop_assert!(again.contains(&Ok(reference)), "{:?}", again);
            }
        }
    }
}
