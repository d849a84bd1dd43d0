//! The words in which a failover is told.

use crate::Entry;

/// Length of the ids of Sentinels, servers and nodes.
const ID_LEN: usize = 40;

/// Letters of an id that are shown.
const SHORT_ID_LEN: usize = 8;

/// Says how long each step took.
pub fn durations(steps: &[(&str, &Entry)]) -> Option<String> {
    let [(first, begin), .., (_, end)] = steps else { return None };
    let mut took = Vec::new();
    for pair in steps.windows(2) {
        let [(_, before), (name, entry)] = pair else { continue };
        took.push(format!("{} ms until {name}", entry.since(before)));
    }
    let (took, all) = (took.join(", "), end.since(begin));
    Some(format!("Durations, since {first}: {took}; {all} ms in all."))
}

/// Returns a text as a sentence.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// Returns a text in which ids are cut.
pub fn with_short_ids(text: &str) -> String {
    let is_id =
        |word: &str| word.len() == ID_LEN && word.bytes().all(|it| it.is_ascii_alphanumeric());
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .map(|word| {
            let letters = word.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
            match is_id(letters) {
                true => format!("{}{}", &letters[..SHORT_ID_LEN], &word[ID_LEN..]),
                false => word.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_cut() {
        let id = "0123456789".repeat(4);
        assert_eq!(
            with_short_ids(&format!("by {id}, é({id})é{id}")),
            "by 01234567, é(01234567)é01234567"
        );
        assert_eq!(with_short_ids(&format!("{id}0 {}", &id[1..])), format!("{id}0 {}", &id[1..]));
    }
}
