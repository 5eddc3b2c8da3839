//! The catalogue as one HTML page that needs nothing else.

use maud::{DOCTYPE, html};

use super::Catalogue;
use super::document::entries;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}nav{columns:16rem}nav a{display:block}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid #d8dee4}\
code{font:13px ui-monospace,monospace}h2{margin-top:2.5rem}\
@media(prefers-color-scheme:dark){body{color:#d8dee4;background:#14181d}td,th{border-color:#3a424b}a{color:#8ab4f8}}";

/// Returns the page.
pub(crate) fn page(catalogue: &Catalogue) -> String {
    let entries = entries(catalogue);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "Events, requests and stored documents" }
                style { (STYLE) }
            }
            body {
                h1 { "Events, requests and stored documents" }
                nav {
                    @for entry in &entries { a href={ "#" (entry.name) } { (entry.name) } }
                }
                @for entry in &entries {
                    h2 id=(entry.name) { (entry.name) }
                    p { (entry.place()) " " (entry.description) }
                    @if !entry.fields.is_empty() {
                        table {
                            tr { th { "key" } th { "type" } th { "meaning" } }
                            @for field in &entry.fields {
                                tr {
                                    td { code { (field.key) } }
                                    td { (field.kind) @if !field.required { ", optional" } }
                                    td { (field.meaning) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_has_its_place_and_every_text_is_escaped() {
        let catalogue = Catalogue::load(None).unwrap();
        let page = page(&catalogue);
        for name in catalogue.schemas.keys() {
            assert!(page.contains(&format!("<h2 id=\"{name}\">")), "{name}");
            assert!(page.contains(&format!("href=\"#{name}\"")), "{name}");
        }
        assert!(!page.contains("src=") && !page.contains("http"), "it needs nothing else");
        // Texts of schemas have angle brackets.
        assert!(page.contains("&lt;") && !page.contains("<name>"));
    }
}
