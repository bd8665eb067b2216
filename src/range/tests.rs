use super::*;

fn text(result: Result<impl fmt::Debug>) -> String {
    result.expect_err("bad input").to_string()
}

#[test]
fn every_way_to_write_a_range_is_understood() {
    let ends = |range: PortRange| (range.first().get(), range.last().get(), range.len());
    assert_eq!(ends(PortRange::new(7..=9).unwrap()), (7, 9, 3));
    assert_eq!(ends(PortRange::new(7..9).unwrap()), (7, 8, 2));
    assert_eq!(ends(PortRange::new(65_530..).unwrap()), (65_530, 65_535, 6));
    assert_eq!(ends(PortRange::new(..=2).unwrap()), (1, 2, 2));
    assert_eq!(ends(PortRange::new(..).unwrap()), (1, 65_535, 65_535));
    assert_eq!(ends(PortRange::new(65_535..=65_535).unwrap()), (65_535, 65_535, 1));
    let range = PortRange::new(7..=9).unwrap();
    assert_eq!(PortRange::new(range).unwrap(), range);
}

#[test]
fn a_reversed_range_says_so() {
    #[expect(clippy::reversed_empty_ranges)]
    for (reversed, written) in [(9..=7, "9..=7"), (9..=8, "9..=8")] {
        let message = text(PortRange::new(reversed));
        assert!(message.contains(written) && message.contains("reversed"), "{message}");
    }
}

#[test]
fn an_empty_range_says_so() {
    let message = text(PortRange::new(7..7));
    assert!(message.contains("7..7") && message.contains("empty"), "{message}");
}

#[test]
fn port_0_is_refused_alone_and_in_a_range() {
    let message = text(PortRange::new(0..=9));
    assert!(message.contains("port 0") && message.contains("start at 1"), "{message}");
    let message = text(Port::new(0));
    assert!(message.contains('0') && message.contains("1 to 65535"), "{message}");
}

#[test]
fn a_port_is_parsed_and_printed() {
    assert_eq!("8080".parse::<Port>().unwrap().to_string(), "8080");
    for bad in ["0", "65536", "-1", "", "http", " 80"] {
        let message = text(bad.parse::<Port>());
        assert!(message.contains(&format!("{bad:?}")), "{message}");
    }
}

#[test]
fn a_range_is_walked_from_both_ends() {
    let range = PortRange::new(65_533..).unwrap();
    let upwards: Vec<_> = range.iter().map(Port::get).collect();
    assert_eq!(upwards, [65_533, 65_534, 65_535]);
    assert_eq!(range.iter().rev().map(Port::get).collect::<Vec<_>>(), [65_535, 65_534, 65_533]);
    assert_eq!(range.iter().len(), 3);
    assert!(range.contains(65_535) && !range.contains(65_532));
}

#[test]
fn numbers_are_cut_at_every_edge() {
    let all = |numbers: &Numbers| (0..numbers.len()).map(|index| numbers.nth(index)).collect::<Vec<_>>();
    let mut numbers = Numbers::new(PortRange::new(10..=19).unwrap());
    numbers.remove(1, 9);
    numbers.remove(20, 65_535);
    assert_eq!(numbers.len(), 10);
    numbers.remove(12, 13);
    assert_eq!(all(&numbers), [10, 11, 14, 15, 16, 17, 18, 19]);
    numbers.remove(0, 10);
    numbers.remove(19, 19);
    numbers.remove(13, 14);
    assert_eq!(all(&numbers), [11, 15, 16, 17, 18]);
    numbers.remove(0, u16::MAX);
    assert_eq!(numbers.len(), 0);
}

#[test]
fn numbers_that_are_put_behind_others_come_once_and_in_order() {
    let new = |range| Numbers::new(PortRange::new(range).unwrap());
    let mut numbers = new(20..=22);
    numbers.append(new(10..=11));
    numbers.append(new(9..=13));
    numbers.append(new(14..=14));
    let all: Vec<_> = (0..numbers.len()).map(|index| numbers.nth(index)).collect();
    assert_eq!(all, [20, 21, 22, 10, 11, 9, 12, 13, 14]);
    for (index, port) in all.iter().enumerate() {
        assert_eq!(numbers.index_of(*port), Some(index));
    }
    assert!(!numbers.contains(23) && !numbers.contains(8) && !numbers.contains(15));
    numbers.remove_all(&new(11..=21));
    assert_eq!((numbers.len(), numbers.nth(0), numbers.nth(1), numbers.nth(2)), (3, 22, 10, 9));
}

#[test]
fn numbers_reach_both_ends_of_the_number_space() {
    let mut numbers = Numbers::new(PortRange::new(..).unwrap());
    numbers.remove(2, 65_534);
    assert_eq!((numbers.nth(0), numbers.nth(1), numbers.len()), (1, 65_535, 2));
}
