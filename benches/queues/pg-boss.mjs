// pg-boss with workers that fetch batches and go on while batches come back full.
// https://pgboss.io/api/workers
import { PgBoss } from "pg-boss";
import { connection, drive, options } from "./load.mjs";

const wanted = options();
const boss = new PgBoss({ ...connection(), max: 20 });
boss.on("error", (error) => console.error(error));
await boss.start();
await boss.createQueue("noop", { notify: true });

let finished = 0;
const working = {
  batchSize: 200,
  localConcurrency: 4,
  pollingIntervalSeconds: 0.5,
  notifyPollingIntervalSeconds: 0.5,
  burstWhenBatchFull: true,
};
await boss.work("noop", working, async (jobs) => {
  finished += jobs.length;
});

const one = () => boss.send("noop", { a: 1 });
const many = (count) =>
  boss.insert("noop", Array.from({ length: count }, () => ({ data: { a: 1 } })));
await drive(wanted, (count) => (count === 1 ? one() : many(count)), () => finished);
await boss.stop({ graceful: false });
