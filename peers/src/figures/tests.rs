use std::time::Duration;

use serde_json::Value;

use super::*;

fn figures(time: &str, names: &[&str]) -> Figures {
    let machine = Machine {
        processor: "A | B".into(),
        cpus: 2,
        memory: 3 << 30,
        system: "Linux 6.18".into(),
        open_files: Some(20_000),
    };
    let run = Run {
        command: "cargo bench".into(),
        load: "0.5".into(),
        versions: BTreeMap::from([("heldport".into(), "0.1.0".into())]),
    };
    let section = |name: &&str| Section {
        name: (*name).to_owned(),
        run: time.to_owned(),
        network: Network::Own,
        rows: vec![
            Row::time(format!("{name} a | b"), Duration::from_micros(2))
                .beside_time("raw", Duration::from_micros(1)),
            Row::time(format!("{name} slow"), Duration::from_micros(2))
                .at_most_time(Duration::from_micros(1)),
        ],
        curves: vec![Curve {
            name: format!("{name}-curve"),
            title: format!("Curve of {name}"),
            reading: "Upwards is more.".into(),
            x: Axis::even("x"),
            y: Axis::even("y"),
            lines: vec![Line { name: "ours".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] }],
        }],
    };
    Figures::of(machine, time, run, names.iter().map(section).collect())
}

fn names(figures: &Figures) -> Vec<&str> {
    figures.sections.iter().map(|section| &*section.name).collect()
}

#[test]
fn a_later_run_replaces_what_it_has_measured_and_keeps_the_rest() {
    let order = ["first", "second", "third"];
    let older = figures("2026-01-01", &["first", "third", "renamed since"]);
    let all = figures("2026-01-02", &["third", "second"]).beside(older, &order);
    assert_eq!(names(&all), order);
    assert_eq!([0, 1, 2].map(|index| &*all.sections[index].run), ["2026-01-01", "2026-01-02", "2026-01-02"]);
    assert_eq!(all.runs.len(), 2);
    let all = figures("2026-01-03", &["first"]).beside(all, &order);
    assert_eq!(
        all.runs.keys().collect::<Vec<_>>(),
        ["2026-01-02", "2026-01-03"],
        "nothing is of the first run"
    );
}

#[test]
fn what_is_kept_is_read_again_and_pictures_of_before_are_gone() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(Figures::kept(root.path()).unwrap(), None);
    figures("2026-01-01", &["first", "second"]).keep(root.path()).unwrap();
    let kept = figures("2026-01-02", &["second"]);
    kept.keep(root.path()).unwrap();
    assert_eq!(Figures::kept(root.path()).unwrap(), Some(kept));
    let pictures = fs::read_dir(root.path().join("peers/figures")).unwrap();
    let mut pictures: Vec<_> = pictures.map(|file| file.unwrap().file_name()).collect();
    pictures.sort();
    assert_eq!(pictures, ["figures.json", "second-curve.svg"]);
}

#[test]
fn the_names_in_json_stay() {
    let json = serde_json::to_value(figures("2026-01-01", &["first"])).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&json), ["machine", "runs", "sections"]);
    assert_eq!(names(&json["machine"]), ["cpus", "memory", "open_files", "processor", "system"]);
    assert_eq!(names(&json["runs"]["2026-01-01"]), ["command", "load", "versions"]);
    assert_eq!(names(&json["sections"][0]), ["curves", "name", "network", "rows", "run"]);
    assert_eq!(json["sections"][0]["network"], "own");
    let curve = &json["sections"][0]["curves"][0];
    assert_eq!(names(curve), ["lines", "name", "reading", "title", "x", "y"]);
    assert_eq!(curve["lines"][0]["points"], serde_json::json!([[0.0, 1.0], [1.0, 2.0]]));
}

#[test]
fn the_page_has_every_row_and_picture_and_says_what_falls_short() {
    let page = markdown::page(&figures("2026-01-01", &["first", "second"]));
    assert!(page.starts_with("<!-- "), "{page}");
    assert!(page.contains("| A \\| B, 2 CPUs |"), "{page}");
    assert!(page.contains("\n| first a \\| b | 2.0µs | raw 1.0µs | 2.00 x |  |  |\n"), "{page}");
    assert!(page.contains("0 of 2 targets hold"), "{page}");
    for name in ["first", "second"] {
        assert!(page.contains(&format!("\n- {name} slow: 2.0µs, target &lt;= 1µs\n")), "{page}");
        assert!(page.contains(&format!("![Curve of {name}](peers/figures/{name}-curve.svg)")), "{page}");
    }
    assert!(page.contains("\n- **portpicker 0.1** tries random"), "{page}");
    // Cells, not parts of words: each row of the table has as many.
    let rows = page.lines().skip_while(|line| !line.starts_with("| what |"));
    for row in rows.take_while(|line| line.starts_with('|')) {
        assert_eq!(row.replace("\\|", "").matches('|').count(), HEADER.len() + 1, "{row}");
    }
}

#[test]
fn a_page_whose_targets_hold_says_so() {
    let mut figures = figures("2026-01-01", &["first"]);
    let row = Row::time("fast", Duration::from_micros(1)).at_most_time(Duration::from_micros(1));
    figures.sections[0].rows = vec![row];
    let page = markdown::page(&figures);
    assert!(page.contains("All targets hold: 1"), "{page}");
}
