//! The same creations with and without a listener.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::EventsBench;
use crate::BenchResult;
use crate::listener::WebSocketListener;
use crate::load;
use crate::report::Bound;
use crate::scenario::create_entities;

const CONNECTIONS: usize = 16;
/// The limit of both ratios.
const COST_MAX: f64 = 1.5;

impl EventsBench<'_> {
    pub(super) async fn listened_writes(&mut self) -> BenchResult {
        let unit = &mut self.context.unit;
        let mut cells = Vec::new();
        for name in ["unheard", "heard"] {
            let cell = unit.create_cell(name).await?;
            unit.create_collection(name, "rows").await?;
            unit.grant_events(name).await?;
            cells.push(cell);
        }
        let [unheard, heard] = cells.as_slice() else {
            return Err("two cells were created".to_owned());
        };
        let mut listener =
            WebSocketListener::open(self.context.unit.port(), "/heard/__event").await?;
        listener.subscribe(&heard.bearer, "*").await?;
        let listening = tokio::spawn(async move {
            loop {
                if let Err(error) = listener.next().await {
                    return error;
                }
            }
        });
        let generator = |cell: &crate::unit::BenchCell| {
            create_entities::generator(std::slice::from_ref(cell), Arc::<AtomicU64>::default())
        };
        let (to_unheard, to_heard) = (generator(unheard), generator(heard));
        let profile = self.context.profile(CONNECTIONS);
        let target = self.context.unit.target();
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..self.context.options.runs {
            without.push(load::run(target, profile, &to_unheard).await?);
            with.push(load::run(target, profile, &to_heard).await?);
        }
        if listening.is_finished() {
            let error = listening.await.unwrap_or_default();
            return Err(format!("the listener to writes: {error}"));
        }
        listening.abort();
        let ratio = |of: fn(&load::Measurement) -> f64| {
            let pairs = without.iter().zip(&with);
            load::median_of(
                pairs
                    .map(|(without, with)| of(with) / of(without))
                    .collect(),
            )
        };
        self.section.measured(
            format!("creations in one cell, {CONNECTIONS} connections, nobody listens"),
            load::median(&without),
        );
        self.section
            .measured("the same, somebody listens", load::median(&with));
        self.section.require(
            "creations that somebody listens to: time of each over that without",
            1.0 / ratio(|it| it.per_second),
            Bound::AtMost,
            COST_MAX,
        );
        self.section.require(
            "creations that somebody listens to: processor time of each over that without",
            ratio(|it| it.cpu_us),
            Bound::AtMost,
            COST_MAX,
        );
        Ok(())
    }
}
