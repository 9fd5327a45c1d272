//! Contracts: functions that each become a test of every back end.

/// Makes a module of tests, one of each promise, on a back end: `{ module, back end }`, or with `, on the emulators`
/// behind it. The back end is an expression for it and for what it needs as long as it lives.
macro_rules! promises {
    ({ $module:ident, $back_end:expr } $($promise:ident)+) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            async fn $promise() {
                let (back_end, _kept) = $back_end;
                contract::$promise(&back_end).await;
            })+
        }
    };
    ({ $module:ident, $back_end:expr, on the emulators } $($promise:ident)+) => {
        mod $module {
            use super::*;

            $(#[tokio::test]
            #[ignore = "needs the emulators: run scripts/test"]
            async fn $promise() {
                let (back_end, _kept) = $back_end;
                contract::$promise(&back_end).await;
            })+
        }
    };
}
pub(crate) use promises;
