// Graphile Worker with what its documentation recommends for throughput: a local queue, and jobs
// completed in batches. https://worker.graphile.org/docs/performance
import pg from "pg";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import { connection, drive, options } from "./load.mjs";

const wanted = options();
const pgPool = new pg.Pool({ ...connection(), max: 20 });
const quiet = new Logger(() => () => {});
const utils = await makeWorkerUtils({ pgPool, logger: quiet });
await utils.migrate();

let finished = 0;
const runner = await run({
  pgPool,
  logger: quiet,
  noHandleSignals: true,
  preset: {
    worker: {
      concurrentJobs: 24,
      localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
    },
  },
  taskList: {
    noop: () => {},
  },
});
runner.events.on("job:complete", () => {
  finished += 1;
});

const one = () => utils.addJob("noop", { a: 1 });
const many = (count) =>
  utils.addJobs(Array.from({ length: count }, () => ({ identifier: "noop", payload: { a: 1 } })));
await drive(wanted, (count) => (count === 1 ? one() : many(count)), () => finished);
await runner.stop();
await utils.release();
await pgPool.end();
