//! `pluckit insights`: wardrobe statistics as tables and bars.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use comfy_table::CellAlignment::{Left, Right};
use comfy_table::{Table, presets};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use tokio_util::task::TaskTracker;

use super::output::{output, words};
use super::{UserArguments, block_on};
use crate::app;
use crate::base::clock::{Clock, SystemClock};
use crate::data::Data;
use crate::domain::insights::{DEFAULT_TARGET, DEFAULT_WINDOW, Insights, LONGEST_WINDOW, Question};
use crate::model::garment::Garment;
use crate::model::ids::{ItemId, UserId};
use crate::model::insights::{Badge, ConversionStatus, CpwIntel, VaultInsights, WearRateTrend};
use crate::net;
use crate::telemetry::metrics::Metrics;

/// Items in the table without `--all`.
const SHOWN: usize = 25;
/// Length of the longest bar, in characters.
const BAR: usize = 30;
/// Longest description of an item, in characters.
const LONGEST_NAME: usize = 40;

const BADGES: [(Badge, &str); 5] = [
    (Badge::Low, "low"),
    (Badge::Medium, "medium"),
    (Badge::High, "high"),
    (Badge::Unknown, "unknown"),
    (Badge::Unworn, "unworn"),
];

/// Flags of `insights`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    user_arguments: UserArguments,
    /// Length of the recent period in days, 1 to 3650
    #[arg(long, value_name = "DAYS", default_value_t = DEFAULT_WINDOW,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(LONGEST_WINDOW)))]
    window_days: u16,
    /// Target cost per wear, in the currency of the user's profile
    #[arg(long, value_name = "AMOUNT", default_value_t = DEFAULT_TARGET, value_parser = parse_target)]
    target_cpw: f64,
    /// List all items instead of the first 25
    #[arg(long)]
    all: bool,
    /// Print the response of GET /api/insights/vault as JSON
    #[arg(long)]
    json: bool,
}

fn parse_target(text: &str) -> Result<f64, String> {
    let target = text.trim().parse().ok().filter(|target: &f64| target.is_finite() && *target > 0.0);
    target.ok_or_else(|| "expected a number greater than 0".to_owned())
}

/// Computes the insights, or takes them from the cache, and prints them.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let question = Question::new(arguments.window_days.into(), arguments.target_cpw)
        .context("--window-days must be 1 to 3650 and --target-cpw greater than 0")?;
    let text = block_on(async {
        let (config, store, user) = arguments.user_arguments.open_existing()?;
        let data = Data::new(store);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = TaskTracker::new();
        let rates = Arc::new(app::open_rates(&config, &data, &net::services()?, &clock));
        let (tracker, time_to_live) = (tasks.clone(), config.insights.time_to_live);
        let insights = Insights::new(data.clone(), rates, clock, tracker, time_to_live, Metrics::default());
        let answer = insights.find(&user, question).await?;
        let text = if arguments.json {
            String::from_utf8(answer.body.to_vec())? + "\n"
        } else {
            let insights: VaultInsights = serde_json::from_slice(&answer.body)?;
            let limit = if arguments.all { usize::MAX } else { SHOWN };
            let entries = ranked(&insights.cpw_intel, limit);
            let names = names(&data, &user, &entries).await?;
            report(&user, arguments.window_days, &insights, &entries, &names)
        };
        // Wait until the answer is cached.
        tasks.close();
        tasks.wait().await;
        Ok(text)
    })?;
    output().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Selects the entries to list: unworn items by price first, then items by cost per wear, highest first.
fn ranked(entries: &[CpwIntel], limit: usize) -> Vec<&CpwIntel> {
    let mut ranked: Vec<_> = entries.iter().collect();
    let needed = |entry: &CpwIntel| entry.forecast.as_ref().map(|forecast| forecast.projected_wears_needed);
    ranked.sort_by_key(|entry| (Reverse(entry.badge == Badge::Unworn), Reverse(entry.cpw), Reverse(needed(entry))));
    ranked.truncate(limit);
    ranked
}

/// Looks up the names of the items.
async fn names(data: &Data, user: &UserId, entries: &[&CpwIntel]) -> anyhow::Result<HashMap<ItemId, String>> {
    let ids: Vec<_> = entries.iter().map(|entry| entry.item_id.clone()).collect();
    let items = data.wardrobe.find_many(user, &ids).await?;
    Ok(items.iter().map(|item| (item.id.clone(), Garment::from(item).name)).collect())
}

fn report(
    user: &UserId,
    window_days: u16,
    insights: &VaultInsights,
    entries: &[&CpwIntel],
    names: &HashMap<ItemId, String>,
) -> String {
    let mut text = String::new();
    let currency = words(&insights.currency);
    let items = insights.cpw_intel.len();
    let rates = match insights.conversion_status {
        ConversionStatus::StaticRates => "built-in exchange rates",
        ConversionStatus::LiveRates => "exchange rates",
    };
    line(&mut text, format_args!("Wardrobe of {}: {items} items", words(user.as_str())));
    line(&mut text, format_args!("Amounts in {currency}, {rates} of {}", insights.fx_date));
    if insights.insufficient_data {
        line(&mut text, format_args!("\nThere are no items yet."));
        return text;
    }
    let behaviour = &insights.behavioral_insights;
    text.push('\n');
    if let Some(share) = &behaviour.top_color_wear_share {
        let label = format!("Worn most: {}", share.color);
        share_line(&mut text, &label, share.pct.0, &format!("of {window_days} days' wears with a colour"));
    }
    if let Some(share) = behaviour.unworn90d_pct {
        share_line(&mut text, "Not worn in 90 days", share.0, "of items");
    }
    if let Some(unworn) = &behaviour.most_expensive_unworn {
        let name = name_of(&unworn.item_id, names);
        line(&mut text, format_args!("{:<22} {name}, {currency} {:.2}", "Most expensive unworn", unworn.amount.0));
    }
    if behaviour.sparse_history {
        line(&mut text, format_args!("Fewer than 5 items were ever worn: these numbers say little yet."));
    }

    let target = insights.cpw_intel.first().map_or(Decimal::ZERO, |entry| entry.break_even_target_cpw.0);
    line(&mut text, format_args!("\nCost per wear against a target of {currency} {target}"));
    for (badge, name) in BADGES {
        let count = insights.cpw_intel.iter().filter(|entry| entry.badge == badge).count();
        let bar = bar(count as f64 / items as f64);
        line(&mut text, format_args!("  {name:<8} {bar:<BAR$} {count}"));
    }

    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["ITEM", "PER WEAR", "BADGE", "WEARS/MONTH", "BEFORE", "TREND", "TARGET REACHED"]);
    for entry in entries {
        let badge = BADGES.iter().find(|(badge, _)| *badge == entry.badge).map_or("", |(_, name)| name);
        let trend = match entry.wear_rate_trend {
            WearRateTrend::Up => "up",
            WearRateTrend::Down => "down",
            WearRateTrend::Stable => "stable",
        };
        table.add_row([
            name_of(&entry.item_id, names),
            entry.cpw.map_or_else(|| "-".to_owned(), |cost| format!("{:.2}", cost.0)),
            badge.to_owned(),
            format!("{:.2}", entry.recent_wear_rate.0),
            format!("{:.2}", entry.historical_wear_rate.0),
            trend.to_owned(),
            when_reached(entry),
        ]);
    }
    for (column, alignment) in table.column_iter_mut().zip([Left, Right, Left, Right, Right, Left, Left]) {
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    line(&mut text, format_args!("\n{}", table.trim_fmt()));
    if entries.len() < items {
        line(&mut text, format_args!("… and {} more: --all lists them", items - entries.len()));
    }
    text
}

fn when_reached(entry: &CpwIntel) -> String {
    let Some(forecast) = &entry.forecast else { return "no price".to_owned() };
    match (&forecast.projected_month, forecast.projected_wears_needed) {
        _ if entry.break_even_reached => "yes".to_owned(),
        (Some(month), 1) => format!("{month}, 1 more wear"),
        (Some(month), needed) => format!("{month}, {needed} more wears"),
        (None, needed) => format!("not in sight, {needed} more wears"),
    }
}

/// Appends a line to a string, which cannot fail.
fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    if writeln!(text, "{content}").is_err() {
        unreachable!("a string takes whatever is written");
    }
}

fn share_line(text: &mut String, label: &str, percent: Decimal, of: &str) {
    let bar = bar(percent.to_f64().unwrap_or_default() / 100.0);
    line(text, format_args!("{label:<22} {bar:<BAR$} {percent} % {of}"));
}

/// Draws a bar of this fraction of the full length. Any fraction above zero draws at least one character.
fn bar(part: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * (BAR * 8) as f64).round() as usize;
    let eighths = if part > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// Returns a readable name for the item, or its id.
fn name_of(item: &ItemId, names: &HashMap<ItemId, String>) -> String {
    let name = names.get(item).map(|name| words(name)).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| words(item.as_str()));
    match name.char_indices().nth(LONGEST_NAME) {
        Some(_) => name.chars().take(LONGEST_NAME - 1).chain(['…']).collect(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example() -> VaultInsights {
        let entry = |id: &str, cpw: Option<f64>, badge: &str, needed: u32| {
            json!({
                "itemId": id, "cpw": cpw, "badge": badge, "breakEvenReached": badge == "low", "breakEvenTargetCpw": 20,
                "recentWearRate": 0.67, "historicalWearRate": 0.5, "wearRateDelta": 0.17, "wearRateTrend": "up",
                "forecast": {
                    "targetCpw": 20, "projectedMonth": "2026-07", "projectedWearsNeeded": needed,
                    "recentWearRate": 0.67, "historicalWearRate": 0.5, "wearRateTrend": "up",
                },
            })
        };
        let mut insights = json!({
            "generatedAt": "2026-03-02T09:15:00Z", "currency": "EUR", "insufficientData": false, "fxDate": "2024-03-01",
            "conversionStatus": "static_rates",
            "behavioralInsights": {
                "topColorWearShare": {"color": "navy", "pct": 33.3}, "unworn90dPct": 50, "sparseHistory": true,
                "mostExpensiveUnworn": {"itemId": "dress", "amount": 189, "currency": "EUR"},
            },
            "cpwIntel": [
                entry("boots", Some(12.5), "low", 0), entry("coat", Some(80.0), "high", 1),
                entry("dress", None, "unworn", 10), entry("evil\u{1b}[2J\nid", Some(30.0), "medium", 3),
            ],
        });
        insights["cpwIntel"][3]["forecast"] = json!(null);
        serde_json::from_value(insights).unwrap()
    }

    #[test]
    fn a_wardrobe_is_told_in_tables_and_bars() {
        let insights = example();
        let entries = ranked(&insights.cpw_intel, 3);
        let names = [(ItemId::from("coat"), "COS navy outerwear".to_owned())].into();
        let text = report(&"ada".into(), 90, &insights, &entries, &names);
        insta::assert_snapshot!(text, @r"
        Wardrobe of ada: 4 items
        Amounts in EUR, built-in exchange rates of 2024-03-01

        Worn most: navy        ██████████                     33.3 % of 90 days' wears with a colour
        Not worn in 90 days    ███████████████                50 % of items
        Most expensive unworn  dress, EUR 189.00
        Fewer than 5 items were ever worn: these numbers say little yet.

        Cost per wear against a target of EUR 20
          low      ███████▌                       1
          medium   ███████▌                       1
          high     ███████▌                       1
          unknown                                 0
          unworn   ███████▌                       1

        ITEM                PER WEAR  BADGE   WEARS/MONTH  BEFORE  TREND  TARGET REACHED
        dress                      -  unworn         0.67    0.50  up     2026-07, 10 more wears
        COS navy outerwear     80.00  high           0.67    0.50  up     2026-07, 1 more wear
        evil[2J id             30.00  medium         0.67    0.50  up     no price
        … and 1 more: --all lists them
        ");
        let all = report(&"ada".into(), 90, &insights, &ranked(&insights.cpw_intel, usize::MAX), &names);
        assert!(all.contains("evil[2J id") && !all.contains('\u{1b}') && !all.contains("--all"), "{all}");
    }

    #[test]
    fn an_empty_wardrobe_is_told_in_a_line() {
        let insights = VaultInsights { cpw_intel: vec![], insufficient_data: true, ..example() };
        let text = report(&"ada".into(), 90, &insights, &[], &HashMap::new());
        assert!(text.ends_with("There are no items yet.\n"), "{text}");
    }

    #[test]
    fn bars_are_as_long_as_their_part() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(0.0001), "▏");
        assert_eq!(bar(0.5), "█".repeat(15));
        assert_eq!(bar(7.0), "█".repeat(BAR));
        assert_eq!(bar(f64::NAN), "");
    }
}
