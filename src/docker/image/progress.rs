//! How a pull goes on, told to the test's closure, to `tracing`, and to people at a terminal.

use std::collections::HashMap;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use bollard::models::CreateImageInfo;

use super::OnPull;
use crate::progress::{GREEN, RED, Style};

/// The line on the terminal is written anew after this time: more often than people can read is not needed.
const REFRESH: Duration = Duration::from_millis(100);

/// How far the pull of an image is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullProgress {
    /// The image, as the test has written it.
    pub image: String,
    /// How many layers are known to belong to it.
    pub layers: usize,
    /// How many of them the engine has, unpacked.
    pub layers_done: usize,
    /// How many bytes are to be fetched, of the layers whose size is known by now.
    pub bytes: u64,
    /// How many of them have been.
    pub bytes_done: u64,
}

#[derive(Clone, Copy, Default)]
struct Layer {
    bytes: u64,
    fetched: u64,
    done: bool,
}

/// Adds up what an engine says of each layer.
pub(super) struct Teller {
    progress: PullProgress,
    layers: HashMap<String, Layer>,
    on_pull: Option<OnPull>,
    /// None if stderr is no terminal.
    style: Option<Style>,
    begun: Instant,
    shown: Option<Instant>,
}

impl Teller {
    pub(super) fn new(image: &str, on_pull: Option<OnPull>) -> Self {
        let style = Style::new(io::stderr().is_terminal(), |name| env::var_os(name));
        tracing::info!(target: "heldport", image, "pulling image");
        Self {
            progress: PullProgress { image: image.to_owned(), ..Default::default() },
            layers: HashMap::new(),
            on_pull,
            style: matches!(style, Style::Live { .. }).then_some(style),
            begun: Instant::now(),
            shown: None,
        }
    }

    pub(super) fn hear(&mut self, told: &CreateImageInfo) {
        if !self.add(told) {
            return;
        }
        let PullProgress { image, layers, layers_done, bytes, bytes_done } = &self.progress;
        tracing::trace!(target: "heldport", image, layers, layers_done, bytes, bytes_done, "pulling image");
        if let Some(on_pull) = &self.on_pull {
            on_pull(&self.progress);
        }
        if self.shown.is_none_or(|shown| shown.elapsed() >= REFRESH) {
            self.shown = Some(Instant::now());
            self.show(Style::rewritten);
        }
    }

    /// Says how it has ended.
    pub(super) fn end(&mut self, pulled: bool) {
        let took = self.begun.elapsed();
        let image = &self.progress.image;
        if pulled {
            tracing::info!(target: "heldport", image, ?took, "image pulled");
        } else {
            tracing::info!(target: "heldport", image, ?took, "image not pulled");
        }
        let end = if pulled { format!("✓ in {took:.1?}") } else { "✗".to_owned() };
        let colour = if pulled { GREEN } else { RED };
        self.show(|style, so_far| format!("{}{}\n", style.rewritten(so_far), style.painted(colour, &end)));
    }

    /// In one write, so that threads do not mix theirs. Not `eprint`, which panics if stderr is closed.
    fn show(&self, line: impl FnOnce(Style, &str) -> String) {
        if let Some(style) = self.style {
            let _ = io::stderr().write_all(line(style, &self.so_far()).as_bytes());
        }
    }

    fn so_far(&self) -> String {
        let PullProgress { image, layers, layers_done, bytes, bytes_done } = &self.progress;
        let fetched = match bytes {
            0 => String::new(),
            _ => format!(", {} of {} MB", megabytes(*bytes_done), megabytes(*bytes)),
        };
        match layers {
            0 => format!("Pulling {image}… "),
            _ => format!("Pulling {image}… {layers_done} of {layers} layers{fetched} "),
        }
    }

    /// Whether it was about a layer.
    fn add(&mut self, told: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&told.id, &told.status) else { return false };
        let detail = told.progress_detail.clone().unwrap_or_default();
        let number = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let known = self.layers.get(id).copied();
        let mut layer = known.unwrap_or_default();
        match &**status {
            "Pulling fs layer" | "Waiting" | "Verifying Checksum" | "Retrying" => {}
            "Downloading" => {
                layer.fetched = number(detail.current).unwrap_or(layer.fetched);
                layer.bytes = number(detail.total).unwrap_or(layer.bytes).max(layer.fetched);
            }
            "Download complete" | "Extracting" => layer.fetched = layer.bytes,
            "Pull complete" | "Already exists" => {
                layer.fetched = layer.bytes;
                layer.done = true;
            }
            // "Pulling from library/redis", whose id is the tag.
            _ if known.is_none() => return false,
            _ => {}
        }
        self.layers.insert(id.clone(), layer);
        self.progress.layers = self.layers.len();
        self.progress.layers_done = self.layers.values().filter(|layer| layer.done).count();
        let sum = |of: fn(&Layer) -> u64| self.layers.values().map(of).fold(0, u64::saturating_add);
        self.progress.bytes = sum(|layer| layer.bytes);
        self.progress.bytes_done = sum(|layer| layer.fetched);
        true
    }
}

/// With one digit behind the point.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near;
    use bollard::models::ProgressDetail;
    use proptest::prelude::*;
    use std::sync::Arc;

    use parking_lot::Mutex;

    fn told(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.into()),
            status: Some(status.into()),
            progress_detail: bytes
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            ..Default::default()
        }
    }

    #[test]
    fn what_the_engine_says_of_layers_adds_up() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = heard.clone();
        let mut teller =
            Teller::new("redis:7", Some(Arc::new(move |p: &PullProgress| hear.lock().push(p.clone()))));
        teller.style = None;
        for (id, status, bytes) in [
            ("7", "Pulling from library/redis", None),
            ("a", "Pulling fs layer", None),
            ("b", "Already exists", None),
            ("a", "Downloading", Some((500_000, 2_000_000))),
            ("a", "Verifying Checksum", None),
            ("a", "Download complete", None),
            ("a", "Extracting", Some((10, 2_000_000))),
            ("a", "Pull complete", None),
        ] {
            teller.hear(&told(id, status, bytes));
        }
        teller.hear(&CreateImageInfo { status: Some("Digest: sha256:12".into()), ..Default::default() });
        let heard = heard.lock();
        let figures: Vec<_> =
            heard.iter().map(|p| (p.layers_done, p.layers, p.bytes_done, p.bytes)).collect();
        let mega = 1_000_000;
        assert_eq!(
            figures,
            [
                (0, 1, 0, 0),
                (1, 2, 0, 0),
                (1, 2, mega / 2, 2 * mega),
                (1, 2, mega / 2, 2 * mega),
                (1, 2, 2 * mega, 2 * mega),
                (1, 2, 2 * mega, 2 * mega),
                (2, 2, 2 * mega, 2 * mega),
            ]
        );
        assert_eq!(heard[0].image, "redis:7");
        assert_eq!(teller.so_far(), "Pulling redis:7… 2 of 2 layers, 2.0 of 2.0 MB ");
    }

    #[test]
    fn layers_that_are_said_to_be_too_large_are_as_large_as_can_be() {
        let mut teller = Teller::new("redis:7", None);
        teller.style = None;
        for id in ["a", "b", "c"] {
            teller.hear(&told(id, "Downloading", Some((i64::MAX, i64::MAX))));
        }
        assert_eq!((teller.progress.bytes_done, teller.progress.bytes), (u64::MAX, u64::MAX));
    }

    const SAID: [&str; 5] =
        ["Pulling fs layer", "Downloading", "Extracting", "Download complete", "Pull complete"];

    fn anything_told() -> impl Strategy<Value = CreateImageInfo> {
        let id = prop::option::of(prop_oneof![Just("a".to_owned()), Just("b".to_owned()), any::<String>()]);
        let status = prop_oneof![prop::sample::select(&SAID[..]).prop_map(str::to_owned), near::text(&SAID)];
        let bytes = any::<Option<(Option<i64>, Option<i64>)>>();
        (id, prop::option::of(status), bytes).prop_map(|(id, status, bytes)| CreateImageInfo {
            id,
            status,
            progress_detail: bytes.map(|(current, total)| ProgressDetail { current, total }),
            ..Default::default()
        })
    }

    proptest! {
        #[test]
        fn no_engine_says_too_much(told in prop::collection::vec(anything_told(), 0..30)) {
            let mut teller = Teller::new("redis:7", None);
            teller.style = None;
            for told in &told {
                teller.hear(told);
                let PullProgress { layers, layers_done, bytes, bytes_done, .. } = teller.progress;
                prop_assert!(layers_done <= layers && bytes_done <= bytes, "{:?}", teller.progress);
                prop_assert!(teller.so_far().starts_with("Pulling redis:7… "));
            }
        }
    }
}
