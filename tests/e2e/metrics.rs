//! What `/metrics` says, read as Prometheus would.

use std::collections::BTreeSet;

/// One scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(Sample::parse)
            .collect();
        Self { samples }
    }

    /// The value of the one sample with these labels, and perhaps more.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels)
            .map(|sample| sample.value)
            .next()
    }

    /// The sum over all samples of a name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.sum_of(name, &[])
    }

    /// The sum over the samples with these labels.
    pub(crate) fn sum_of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The names of all samples.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.samples
            .iter()
            .map(|sample| sample.name.as_str())
            .collect()
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(key, value)| sample.labels.iter().any(|(k, v)| k == key && v == value))
        })
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line
            .rsplit_once(' ')
            .unwrap_or_else(|| panic!("not a sample: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels
            .trim_end_matches('}')
            .split("\",")
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair
                    .split_once("=\"")
                    .unwrap_or_else(|| panic!("not a label: {line}"));
                (key.to_owned(), value.trim_end_matches('"').to_owned())
            });
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value
                .parse()
                .unwrap_or_else(|_| panic!("not a number: {line}")),
        }
    }
}

#[test]
fn a_scrape_is_read() {
    let text = "# HELP a x\na{b=\"c\",d=\"e,f\"} 2\na{b=\"g\",d=\"\"} 3.5\nh 1\n";
    let metrics = Metrics::parse(text);
    assert_eq!(metrics.value("a", &[("d", "e,f")]), Some(2.0));
    assert!((metrics.sum("a") - 5.5).abs() < 1e-9);
    assert_eq!(metrics.value("h", &[]), Some(1.0));
    assert_eq!(metrics.value("a", &[("b", "x")]), None);
    assert_eq!(metrics.names().len(), 2);
}
