//! Tests of the table; values of a running node are tested in `tests/info.rs`.

use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_unique_and_rows_are_documented() {
    let mut names = BTreeSet::new();
    for field in fields() {
        assert!(names.insert(field.name), "{} is duplicated", field.name);
        assert!(field.description.ends_with('.') && field.description.len() > 4, "{}", field.name);
        let end = field.name.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '_');
        let end = end
            .trim_start_matches(|c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || c == '_');
        assert!(matches!(end, "" | "N" | "NAME" | "CODE"), "{}", field.name);
        assert_eq!(field.kind == Kind::Lines, !end.is_empty(), "{}", field.name);
    }
}

#[test]
fn existing_fields_are_not_listed_as_absent() {
    for (_, name, why) in document::ABSENT {
        assert!(fields().all(|field| field.name != *name) && !why.is_empty(), "{name}");
    }
}

#[test]
fn arguments_select_each_section_once_in_table_order() {
    let pick = |words: &[&str]| -> Vec<&'static str> {
        let words = words.iter().map(|word| word.as_bytes());
        selected(Mode::Standalone, words).into_iter().map(Section::title).collect()
    };
    let default = pick(&[]);
    assert_eq!(default, pick(&["DEFAULT"]));
    assert_eq!((default[0], default.len()), ("Server", 11));
    assert_eq!(pick(&["all"]).len(), 13);
    assert_eq!(pick(&["everything"]).len(), 14);
    assert_eq!(pick(&["keyspace", "cpu", "nothing", "CPU"]), ["CPU", "Keyspace"]);
    assert_eq!(pick(&["cpu", "default"]), default);
    assert_eq!(pick(&["default", "commandstats"]).len(), 12);
    assert_eq!(pick(&["module_list"]), ["Modules"]);
    assert!(pick(&["nothing", "sentinel"]).is_empty());
}

#[test]
fn a_sentinel_has_few_sections() {
    let pick = |words: &[&str]| -> Vec<&'static str> {
        let words = words.iter().map(|word| word.as_bytes());
        selected(Mode::Sentinel, words).into_iter().map(Section::title).collect()
    };
    let all = ["Server", "Clients", "Stats", "CPU", "Sentinel"];
    assert_eq!((pick(&[]), pick(&["all"])), (all.to_vec(), all.to_vec()));
    assert_eq!(pick(&["everything"]), [&all[..], &["Russet"]].concat());
    assert_eq!(pick(&["sentinel", "keyspace", "cpu"]), ["CPU", "Sentinel"]);
}

#[test]
fn numbers_are_formatted_as_in_redis() {
    assert_eq!([human(0), human(1023), human(1024)], ["0B", "1023B", "1.00K"]);
    assert_eq!(human(965_968), "943.33K");
    assert_eq!(human(25_276_502_016), "23.54G");
    assert_eq!(human(3 << 50), "3.00P");
    assert_eq!([ratio(1, 3), ratio(1, 0), percent(1, 3)], ["0.33", "0.00", "33.33"]);
    assert_eq!(seconds_of(1_003_604), "1.003604");
}
