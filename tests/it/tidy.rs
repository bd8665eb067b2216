//! The house itself: what a reader relies on, and no compiler looks at.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// More do not fit into a head.
const LINES: usize = 400;

#[test]
fn modules_import_only_from_those_below_them() {
    let layers = layers();
    let place = |module: &str| layers.iter().position(|layer| layer == module);
    let mut wrong = BTreeSet::new();
    for file in rust_files("src").iter().filter(|file| is_product(file)) {
        let module = module_of(file);
        if module == "lib" {
            continue;
        }
        let at = place(&module).unwrap_or_else(|| panic!("{module} is not in CONTRIBUTING.md"));
        for import in imports(tokens(file)).into_iter().filter(|import| *import != module) {
            if place(&import).is_none_or(|below| below < at) {
                wrong.insert(format!("{} imports crate::{import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up, or around the modules: {wrong:#?}");
}

#[test]
fn every_layer_is_a_module() {
    let modules: BTreeSet<_> = rust_files("src").iter().map(|file| module_of(file)).collect();
    let gone: Vec<_> = layers().into_iter().filter(|layer| !modules.contains(layer)).collect();
    assert!(gone.is_empty(), "CONTRIBUTING.md lists what is not there: {gone:?}");
}

#[test]
fn no_file_needs_much_scrolling() {
    let long = |file: &PathBuf| fs::read_to_string(file).unwrap().lines().count() > LINES;
    let all = ["src", "macros", "tests", "examples", "peers"].into_iter().flat_map(rust_files);
    let long: Vec<_> = all.filter(long).collect();
    assert!(long.is_empty(), "of more than {LINES} lines: {long:?}");
}

#[test]
fn every_feature_is_explained_where_users_look() {
    let manifest = manifest();
    let features = manifest.split("[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let (readme, mut before) = (read("README.md"), "");
    for line in features.lines() {
        if let Some((feature, _)) = line.split_once(" = ").filter(|(name, _)| *name != "default") {
            assert!(before.starts_with('#'), "Cargo.toml does not say what {feature} is for");
            assert!(readme.contains(&format!("| `{feature}` |")), "README.md has no row for {feature}");
        }
        before = line;
    }
}

#[test]
fn a_release_is_one_in_all_its_places() {
    let version = env!("CARGO_PKG_VERSION");
    let latest = read("CHANGELOG.md").lines().find(|line| line.starts_with("## ")).map(str::to_owned);
    let latest = latest.expect("CHANGELOG.md tells a release");
    let released = latest.strip_prefix(&format!("## {version} - ")).is_some_and(|date| date.len() == 10);
    assert!(released || latest == "## Unreleased", "{latest} is not {version}");
    // The attribute calls what is private here: of another release, it would not compile.
    let pin = format!("version = \"={version}\"");
    let is_pinned = |line: &str| line.starts_with("heldport-macros = ") && line.contains(&pin);
    assert!(manifest().lines().any(is_pinned), "Cargo.toml has heldport-macros without {pin}");
}

/// From top to bottom, as CONTRIBUTING.md has them.
fn layers() -> Vec<String> {
    let text = read("CONTRIBUTING.md");
    let list = text.split("```text\n").nth(1).expect("a list of layers").split("```").next().unwrap();
    list.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// `held` for `src/held.rs` and all that is in `src/held`.
fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// Tests may look where they like.
fn is_product(file: &Path) -> bool {
    let tests = ["tests", "tests.rs", "models.rs", "simulation.rs", "soon.rs", "near.rs"];
    !file.iter().any(|part| tests.iter().any(|test| part == *test))
}

/// What follows `crate::`, each alternative of a list too. `super::` never gets to the root: that is `crate::`.
fn imports(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident) if ident == "crate" => match tokens.get(at + 3) {
                Some(TokenTree::Group(list)) if list.delimiter() == Delimiter::Brace => {
                    found.extend(first_words(list.stream()));
                }
                Some(TokenTree::Ident(name)) => {
                    found.insert(name.to_string());
                }
                _ => {} // pub(crate)
            },
            TokenTree::Group(group) => found.extend(imports(group.stream())),
            _ => {}
        }
    }
    found
}

/// Of a list in braces: `a` and `d` of `{a::{b, c}, d}`.
fn first_words(list: TokenStream) -> impl Iterator<Item = String> {
    let mut at_start = true;
    list.into_iter().filter_map(move |token| {
        let starts = at_start;
        at_start = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
        matches!(token, TokenTree::Ident(_)).then(|| token.to_string()).filter(|_| starts)
    })
}

fn tokens(file: &Path) -> TokenStream {
    let text = fs::read_to_string(file).unwrap();
    // Without its own tests, which stand last.
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    product.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn rust_files(directory: &str) -> Vec<PathBuf> {
    let (mut files, mut directories) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = directories.pop() {
        // What is not in a package is not looked at there.
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// As it was written: a package has another one, made of it.
fn manifest() -> String {
    fs::read_to_string(root().join("Cargo.toml.orig")).unwrap_or_else(|_| read("Cargo.toml"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
