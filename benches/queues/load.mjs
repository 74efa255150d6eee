// The same load for each queue: so many loops submit, each `batch` jobs at a time, never with more
// than OUTSTANDING unfinished, and what has finished is counted for so many seconds.

const OUTSTANDING = 5_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** What the command line says: seconds, loops, jobs a submission. */
export function options() {
  const [seconds, clients, batch] = process.argv.slice(2).map(Number);
  for (const [name, value] of Object.entries({ seconds, clients, batch })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new Error(`${name} must be a whole number: give seconds, clients and batch`);
    }
  }
  return { seconds, clients, batch };
}

/** Where the database is; the rest comes from the PG… variables. */
export function connection() {
  const { PGHOST, PGDATABASE, PGUSER } = process.env;
  return { host: PGHOST, database: PGDATABASE, user: PGUSER };
}

/**
 * Submits with `submit(count)` until the time is over; `finished()` tells how many jobs have ended.
 * Prints one line of JSON.
 */
export async function drive({ seconds, clients, batch }, submit, finished) {
  let submitted = 0;
  const begun = performance.now();
  const until = begun + seconds * 1_000;
  const loop = async () => {
    while (performance.now() < until) {
      if (submitted - finished() > OUTSTANDING) {
        await pause(1);
        continue;
      }
      submitted += batch;
      await submit(batch);
    }
  };
  await Promise.all(Array.from({ length: clients }, loop));
  const elapsed = (performance.now() - begun) / 1_000;
  const ended = finished();
  console.log(JSON.stringify({ jobsPerSecond: ended / elapsed, submitted, finished: ended }));
}
