//! What is not shown to whoever may only read, and stays as it is where it comes back.

use model::{Secret, WebhookUrl};

/// Stands for a password, for a secret, or for the end of a URL that is not shown. It is one that a trunk could have, so that whoever got it can check the rest of the trunk.
pub(crate) const KEPT: &str = "***kept-by-the-switch***";

/// Whether it stands for the one that there is.
pub(crate) fn is_kept(secret: &Secret<String>) -> bool {
    secret.expose() == KEPT
}

/// Scheme and authority, and what follows them (RFC 3986 section 3).
fn divided(url: &WebhookUrl) -> (&str, &str) {
    let text = url.as_str();
    let authority = text.find("://").map_or(0, |at| at + 3);
    let (_, rest) = text.split_at(authority);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    text.split_at(authority + end)
}

/// The same without what follows its authority: path and query are the password of many a receiver. Nothing where that is no URL any more.
pub(crate) fn veiled(url: &WebhookUrl) -> Option<WebhookUrl> {
    match divided(url) {
        (_, "" | "/") => Some(url.clone()),
        (origin, _) => format!("{origin}/{KEPT}").parse().ok(),
    }
}

/// The whole URL again, if it was veiled: that of before, if it leads to the same place; else nothing.
pub(crate) fn unveiled<'a>(
    url: &'a WebhookUrl,
    before: Option<&'a WebhookUrl>,
) -> Option<&'a WebhookUrl> {
    let (origin, rest) = divided(url);
    if rest.strip_prefix('/') != Some(KEPT) {
        return Some(url);
    }
    before.filter(|before| divided(before).0 == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_path_and_is_whole_again_at_the_same_host_alone() {
        let url = |text: &str| text.parse::<WebhookUrl>().unwrap();
        for (whole, shown) in [
            (
                "https://crm.example.com:8443/hooks/s3cret?key=1",
                "https://crm.example.com:8443/***kept-by-the-switch***",
            ),
            (
                "http://[::1]?key=1",
                "http://[::1]/***kept-by-the-switch***",
            ),
            ("https://crm.example.com/", "https://crm.example.com/"),
            ("https://crm.example.com", "https://crm.example.com"),
        ] {
            let whole = url(whole);
            let veiled = veiled(&whole).unwrap();
            assert_eq!(veiled.as_str(), shown);
            assert_eq!(unveiled(&veiled, Some(&whole)), Some(&whole));
        }
        let veiled = url("https://crm.example.com/***kept-by-the-switch***");
        assert_eq!(unveiled(&veiled, None), None);
        for other in [
            "https://crm.example.org/x",
            "https://crm.example.com:444/x",
            "http://crm.example.com/x",
        ] {
            assert_eq!(unveiled(&veiled, Some(&url(other))), None, "{other}");
        }
        let another = url("https://crm.example.com/y");
        assert_eq!(unveiled(&another, Some(&veiled)), Some(&another));
    }
}
