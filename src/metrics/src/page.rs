//! Every family as a person reads of it: the page `docs/metrics.md`, and what `strowger metrics list` prints.

use crate::{Family, LabelValues};

impl Family {
    /// `counter`, `gauge` or `histogram`.
    pub fn kind_name(&self) -> String {
        format!("{:?}", self.kind).to_lowercase()
    }

    /// Its labels with the values they may have, as Markdown: `` `result`: ok, error ``; only the name where that of a trunk or a session stands.
    pub fn labels_in_words(&self) -> String {
        let labels = self.labels.iter().map(|label| match &label.values {
            LabelValues::Closed(values) => format!("`{}`: {}", label.name, values.join(", ")),
            LabelValues::Trunk | LabelValues::Session | LabelValues::Build => {
                format!("`{}`", label.name)
            }
        });
        labels.collect::<Vec<_>>().join("; ")
    }
}

/// The page of all families, in Markdown.
pub fn page(families: &[Family]) -> String {
    let mut page = String::from(
        "# Metrics\n\nEvery family at `/metrics`, made from `src/metrics`. Labels have closed lists of values or hold the name of a configured\n\
         trunk or session (at most 200 of each; what is counted of the rest is `other`); no number of a person stands in any of them.\n\n\
         | family | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for family in families {
        let cells = [
            format!("`{}`", family.name),
            family.kind_name(),
            family.labels_in_words(),
            family.help.to_owned(),
        ];
        page += "| ";
        page += &cells.join(" | ");
        page += " |\n";
    }
    page
}
