//! Keeping what was taken, and giving it back.

use sqlx::PgPool;
use toolroom_domain::JobId;

/// For how long a heartbeat is good, in seconds.
const HEARTBEAT_SECONDS: f64 = 30.0;

/// How old a lease must be to be swept up, in seconds: long after anybody asks for it.
const SWEEP_AFTER_SECONDS: f64 = 300.0;

/// Says that this node still runs these attempts.
///
/// # Errors
/// When the database does not answer.
pub async fn renew(pool: &PgPool, node: &str, calls: &[(JobId, u32)]) -> Result<(), sqlx::Error> {
    write(pool, node, calls, HEARTBEAT_SECONDS).await
}

/// Gives these attempts up: another node may take them over at once.
///
/// # Errors
/// When the database does not answer; then they can be taken over when their leases run out.
pub async fn release(pool: &PgPool, node: &str, calls: &[(JobId, u32)]) -> Result<(), sqlx::Error> {
    write(pool, node, calls, -1.0).await
}

async fn write(
    pool: &PgPool,
    node: &str,
    calls: &[(JobId, u32)],
    seconds: f64,
) -> Result<(), sqlx::Error> {
    if calls.is_empty() {
        return Ok(());
    }
    let (jobs, attempts): (Vec<String>, Vec<i32>) = calls
        .iter()
        .map(|(job, attempt)| (job.to_string(), i32::try_from(*attempt).unwrap_or(i32::MAX)))
        .unzip();
    sqlx::query(
        "insert into leases as l (job_id, attempt, node, until)
         select j, a, $1, clock_timestamp() + make_interval(secs => $4)
         from unnest($2::text[], $3::int[]) as u(j, a)
         on conflict (job_id) do update
         set attempt = excluded.attempt, node = excluded.node, until = excluded.until
         -- not over a lease of a later attempt: this node was then taken for dead
         where l.attempt <= excluded.attempt",
    )
    .bind(node)
    .bind(jobs)
    .bind(attempts)
    .bind(seconds)
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends the lease of an attempt that has ended while its job has not.
///
/// # Errors
/// When the database does not answer; the lease runs out by itself.
pub async fn end(pool: &PgPool, job: &str, attempt: u32) -> Result<(), sqlx::Error> {
    sqlx::query("delete from leases where job_id = $1 and attempt = $2")
        .bind(job)
        .bind(i32::try_from(attempt).unwrap_or(i32::MAX))
        .execute(pool)
        .await?;
    Ok(())
}

/// Anchors leases anew that end later than any can: the database's clock has stepped back since they
/// were taken, and else what a dead node held would wait until it has caught up. A living node's next
/// heartbeat comes long before the new end.
///
/// # Errors
/// When the database does not answer.
pub async fn anchor(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with of_leases as (
             update leases set until = clock_timestamp() + make_interval(secs => $1)
             where until > clock_timestamp() + make_interval(secs => $1 + 1)
         )
         insert into leases (job_id, attempt, node, until)
         select job_id, attempt, node, clock_timestamp() + make_interval(secs => $1)
         from queue
         where running and lease_until > clock_timestamp() + make_interval(secs => $1 + 1)
         on conflict (job_id) do nothing",
    )
    .bind(HEARTBEAT_SECONDS)
    .execute(pool)
    .await?;
    Ok(())
}

/// Removes the leases that nobody asks for any more.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query("delete from leases where until < clock_timestamp() - make_interval(secs => $1)")
        .bind(SWEEP_AFTER_SECONDS)
        .execute(pool)
        .await?;
    Ok(())
}
