//! Makes a failing value smaller, as long as it fails.

/// The lists that are left when something is taken away from this one: halves first, single elements last.
#[must_use]
pub fn shorter<T: Clone>(list: &[T]) -> Vec<Vec<T>> {
    let mut lists = Vec::new();
    let mut size = list.len();
    while size > 0 {
        for begin in (0..list.len()).step_by(size) {
            let end = (begin + size).min(list.len());
            lists.push([&list[..begin], &list[end..]].concat());
        }
        size /= 2;
    }
    lists
}

/// The smaller numbers worth trying instead of this one, smallest first.
#[must_use]
pub fn lower(number: u64) -> Vec<u64> {
    let mut numbers = vec![0, number / 2, number.saturating_sub(1)];
    numbers.dedup();
    numbers.retain(|lower| *lower < number);
    numbers
}

/// The smallest value found that still fails. `fails` says `None` when there is no more time to try.
pub fn smallest<T>(
    first: T,
    smaller: impl Fn(&T) -> Vec<T>,
    mut fails: impl FnMut(&T) -> Option<bool>,
) -> T {
    let mut best = first;
    loop {
        let (mut at, mut better) = (0, false);
        let mut candidates = smaller(&best);
        // What was not to be taken away before is tried again only when something else could be.
        while at < candidates.len() {
            match fails(&candidates[at]) {
                None => return best,
                Some(false) => at += 1,
                Some(true) => {
                    best = candidates.swap_remove(at);
                    candidates = smaller(&best);
                    better = true;
                }
            }
        }
        if !better {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::ptr_arg, reason = "it is the value that is made smaller")]
    fn smaller(list: &Vec<u64>) -> Vec<Vec<u64>> {
        let mut all = shorter(list);
        for (at, number) in list.iter().enumerate() {
            for lower in lower(*number) {
                let mut list = list.clone();
                list[at] = lower;
                all.push(list);
            }
        }
        all
    }

    #[test]
    fn what_does_not_matter_goes_and_what_does_stays() {
        let fails = |list: &Vec<u64>| {
            let at = list.iter().position(|number| *number >= 17)?;
            Some(list[at..].contains(&3))
        };
        let first = vec![5, 99, 4, 4, 8, 3, 3, 12, 90];
        let found = smallest(first, smaller, |list| Some(fails(list).unwrap_or(false)));
        assert_eq!(found, [17, 3]);
    }

    #[test]
    fn it_ends_when_there_is_no_more_time() {
        let mut left = 3;
        let found = smallest(vec![1; 64], smaller, |_| {
            left -= 1;
            (left >= 0).then_some(false)
        });
        assert_eq!((found.len(), left), (64, -1));
    }
}
