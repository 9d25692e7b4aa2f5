//! Chunks that wait for a writing lane.
//!
//! Lanes that write into one table wait for each other at the latches of its clustered index, and spin there: an eighth of
//! their time in a copy of two tables, when they took what came next. So a lane takes a chunk of a table that no other lane
//! writes, as long as there is one; else the first. No chunk waits longer than the writing of its table's other chunks.

use std::collections::VecDeque;

use tokio::sync::{Mutex, mpsc};

use super::writer::WriteWork;

/// Where all writing lanes take their work from.
#[derive(Debug)]
pub struct WriteQueue(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    arriving: mpsc::Receiver<WriteWork>,
    /// In the order in which they came; as few as the stream lets be in flight.
    held: VecDeque<WriteWork>,
    /// The tables of the chunks that are written now.
    writing: Vec<usize>,
}

impl WriteQueue {
    /// Hands out what arrives.
    pub fn new(arriving: mpsc::Receiver<WriteWork>) -> Self {
        let (held, writing) = (VecDeque::new(), Vec::new());
        Self(Mutex::new(Waiting { arriving, held, writing }))
    }

    /// The next chunk for a lane that has written one of the table `written` before; `None` when the stream is gone.
    pub async fn next(&self, written: Option<usize>) -> Option<WriteWork> {
        let mut waiting = self.0.lock().await;
        let Waiting { arriving, held, writing } = &mut *waiting;
        if let Some(at) = writing.iter().position(|table| Some(*table) == written) {
            writing.swap_remove(at);
        }
        while let Ok(work) = arriving.try_recv() {
            held.push_back(work);
        }
        if held.is_empty() {
            held.push_back(arriving.recv().await?);
        }
        let at = choose(held.iter().map(|work| work.table), writing);
        let work = held.remove(at)?;
        writing.push(work.table);
        Some(work)
    }
}

/// Which of the waiting chunks, by their tables, is next.
fn choose(waiting: impl Iterator<Item = usize>, writing: &[usize]) -> usize {
    waiting.enumerate().find(|(_, table)| !writing.contains(table)).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_nobody_writes_come_first() {
        for (waiting, writing, chosen) in [
            (&[4, 2][..], &[][..], 0),
            (&[4, 2], &[4], 1),
            (&[4, 4, 2, 3], &[4], 2),
            (&[4, 2], &[4, 2], 0),
            (&[4], &[4], 0),
        ] {
            assert_eq!(choose(waiting.iter().copied(), writing), chosen, "{waiting:?} {writing:?}");
        }
    }
}
