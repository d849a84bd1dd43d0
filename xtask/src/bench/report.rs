//! Figures gathered, printed as tables with ratios, and written as JSON.

use std::fmt::Write as _;
use std::fs;

use super::Plan;

/// One figure of one server, over its rounds.
struct Figure {
    group: &'static str,
    case: String,
    metric: &'static str,
    unit: &'static str,
    side: usize,
    samples: Vec<f64>,
}

/// All figures of a run.
pub struct Report {
    sides: Vec<String>,
    machine: String,
    quick: bool,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// What a figure is called.
#[derive(Clone, Copy)]
pub struct Metric {
    /// The bench it comes from.
    pub group: &'static str,
    /// What is measured.
    pub name: &'static str,
    /// In what.
    pub unit: &'static str,
}

impl Report {
    /// An empty report.
    pub fn new(plan: &Plan) -> Report {
        Report {
            sides: plan.sides.iter().map(|side| side.name.clone()).collect(),
            machine: machine(),
            quick: plan.quick,
            figures: vec![],
            notes: vec![],
        }
    }

    /// Adds one sample of a server's figure.
    pub fn add(&mut self, metric: Metric, case: &str, side: usize, sample: f64) {
        let known = self.figures.iter_mut().find(|f| {
            (f.group, f.metric, f.side) == (metric.group, metric.name, side) && f.case == case
        });
        match known {
            Some(figure) => figure.samples.push(sample),
            None => self.figures.push(Figure {
                group: metric.group,
                case: case.to_owned(),
                metric: metric.name,
                unit: metric.unit,
                side,
                samples: vec![sample],
            }),
        }
    }

    /// Adds the samples and remarks of a report about the same sides.
    pub fn merge(&mut self, other: Report) {
        for figure in other.figures {
            let metric = Metric { group: figure.group, name: figure.metric, unit: figure.unit };
            for sample in figure.samples {
                self.add(metric, &figure.case, figure.side, sample);
            }
        }
        other.notes.into_iter().for_each(|note| self.note(note));
    }

    /// Adds a remark that stands under the tables.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// Prints every figure: one line per case and metric, medians with their spread, the ratio of the medians.
    pub fn print(&self) {
        println!("{}", self.machine);
        if self.quick {
            println!("A quick run: these numbers show that it works and are not to be quoted.");
        }
        let mut group = "";
        for figure in self.figures.iter().filter(|f| self.is_first(f)) {
            if figure.group != group {
                group = figure.group;
                println!("\n{group}");
                let heads: String = self.sides.iter().map(|s| format!("{s:>28}")).collect();
                println!("{:<34}{:<34}{heads}{:>9}", "", "", "ratio");
            }
            println!("{}", self.line(figure));
        }
        for note in &self.notes {
            println!("\n{note}");
        }
    }

    fn line(&self, figure: &Figure) -> String {
        let both: Vec<_> = (0..self.sides.len()).map(|side| self.same(figure, side)).collect();
        let metric = format!("{} {}", figure.metric, figure.unit);
        let mut line = format!("{:<34}{metric:<34}", figure.case);
        for side in &both {
            let text = side.map_or_else(|| "–".to_owned(), |f| spread(&f.samples));
            let _ = write!(line, "{text:>28}"); // a String takes everything
        }
        if let [Some(ours), Some(peer), ..] = both[..] {
            let ratio = median(&ours.samples) / median(&peer.samples);
            let text = if ratio.is_finite() { format!("{ratio:.2}×") } else { "–".to_owned() };
            let _ = write!(line, "{text:>9}");
        }
        line
    }

    /// Whether no other side's figure of the same case stands before it.
    fn is_first(&self, figure: &Figure) -> bool {
        (0..figure.side).all(|side| self.same(figure, side).is_none())
    }

    fn same(&self, figure: &Figure, side: usize) -> Option<&Figure> {
        self.figures.iter().find(|f| {
            (f.group, f.metric, f.side) == (figure.group, figure.metric, side)
                && f.case == figure.case
        })
    }

    /// The same as JSON: machine, and one object per figure with all its samples.
    pub fn json(&self) -> String {
        let figures: Vec<String> = self.figures.iter().map(|f| self.figure_json(f)).collect();
        let notes: Vec<String> = self.notes.iter().map(|note| quoted(note)).collect();
        format!(
            "{{\n\"machine\": {},\n\"quick\": {},\n\"notes\": [{}],\n\"figures\": [\n{}\n]\n}}\n",
            quoted(&self.machine),
            self.quick,
            notes.join(", "),
            figures.join(",\n")
        )
    }

    fn figure_json(&self, figure: &Figure) -> String {
        let samples: Vec<String> = figure.samples.iter().map(f64::to_string).collect();
        format!(
            "{{\"group\": {}, \"case\": {}, \"metric\": {}, \"unit\": {}, \"server\": {}, \
             \"median\": {}, \"samples\": [{}]}}",
            quoted(figure.group),
            quoted(&figure.case),
            quoted(figure.metric),
            quoted(figure.unit),
            quoted(&self.sides[figure.side]),
            median(&figure.samples),
            samples.join(", ")
        )
    }
}

/// Median, then least and greatest in brackets if there are several samples.
fn spread(samples: &[f64]) -> String {
    let middle = short(median(samples));
    if samples.len() < 2 {
        return middle;
    }
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{middle} [{} – {}]", short(least), short(greatest))
}

/// Three to four digits that matter.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

/// The middle sample; the mean of the two in the middle if they are even in number. There is one sample at least.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c)); // a String takes everything
            }
            c => out.push(c),
        }
    }
    out + "\""
}

/// The processor, its cores, the kernel.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} (family {}, model {}), {} cores, Linux {}",
        field("model name").unwrap_or_else(|| "unknown processor".into()),
        field("cpu family").unwrap_or_default(),
        field("model\t").unwrap_or_default(),
        std::thread::available_parallelism().map_or(1, usize::from).max(cores(&info)),
        kernel.trim()
    )
}

fn cores(info: &str) -> usize {
    info.lines().filter(|line| line.starts_with("processor")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
