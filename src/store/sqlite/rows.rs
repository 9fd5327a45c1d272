//! Reading the rows of a query.

use std::borrow::Cow;
use std::fmt;

use rusqlite::{Connection, params_from_iter};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::sql;
use crate::store::Result;

/// Runs `statements` in order until they have passed `limit` rows to `take`, or it wants no more. Returns the position
/// after them.
pub(super) fn rows(
    connection: &Connection,
    statements: &sql::Statements,
    limit: usize,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<bool>,
) -> Result<Option<String>> {
    // All statements see the same snapshot. In memory the writer's transaction provides it.
    let snapshot = connection.is_autocommit().then(|| connection.unchecked_transaction());
    let _snapshot = snapshot.transpose()?;
    let (mut taken, mut is_full, mut position) = (0, false, Vec::new());
    let list = match &statements.if_few {
        Some((count, list)) => {
            let mut counted = connection.prepare_cached(&count.text)?;
            let are_few = counted.query_row(params_from_iter(count.bind(0)), |row| row.get(0))?;
            if are_few { list } else { &statements.list }
        }
        None => &statements.list,
    };
    for statement in list {
        let mut prepared = connection.prepare_cached(&statement.text)?;
        // One extra row tells whether there is another page.
        let room = i64::try_from(limit - taken).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows = prepared.query(params_from_iter(statement.bind(room)))?;
        while let Some(row) = rows.next()? {
            if is_full {
                return sql::encode_position(&position).map(Some);
            }
            let wants_more = take(row)?;
            taken += 1;
            is_full = taken == limit || !wants_more;
            if is_full {
                position = statements.keys.clone().map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
            }
        }
    }
    Ok(None)
}

pub(super) fn text<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> Result<&'a str> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

/// Returns the object `json` with only the top-level fields in `fields`. Their values are copied verbatim; the others
/// are skipped without parsing.
pub(super) fn select(json: &str, fields: &[&str]) -> serde_json::Result<String> {
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    struct Selection<'a>(&'a [&'a str]);

    impl<'de> Visitor<'de> for Selection<'_> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<String, A::Error> {
            let mut selected = String::from("{");
            while let Some(Name(name)) = map.next_key()? {
                if !self.0.contains(&&*name) {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                if selected.len() > 1 {
                    selected.push(',');
                }
                // The requested field names need no escaping.
                selected.push('"');
                selected.push_str(&name);
                selected.push_str("\":");
                selected.push_str(map.next_value::<&RawValue>()?.get());
            }
            selected.push('}');
            Ok(selected)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(json);
    let selected = deserializer.deserialize_map(Selection(fields))?;
    deserializer.end()?;
    Ok(selected)
}
