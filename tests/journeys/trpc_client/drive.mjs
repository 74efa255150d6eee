// The procedures of the tool actions' contract, called as its document calls them, by the client
// that its users have. Run as: node drive.mjs FOLDER-OF-PACKAGES SERVER-URL SERVICE-URL
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const [folder, server, service] = process.argv.slice(2);
// From the test's copy of the packages, wherever this file lies.
const { createTRPCProxyClient, ...links } = createRequire(
  path.join(folder, "package.json"),
)("@trpc/client");
const url = `${server}/api/trpc`;

/** What a call rejects with. */
async function rejection(call) {
  return call.then(
    (data) => assert.fail(`it gave ${JSON.stringify(data)}`),
    (error) => error,
  );
}

/** What a read model tells once it has come so far: it follows the log some milliseconds behind. */
async function eventually(read, isThere) {
  for (const deadline = Date.now() + 10_000; ; ) {
    const found = await read();
    if (isThere(found) || Date.now() > deadline) return found;
  }
}

/** The document's procedures, one after the other, on one link. */
async function drive(name, link) {
  const trpc = createTRPCProxyClient({ links: [link] });

  const tool = await trpc.tools.create.mutate({
    name: `Team Service ${name}`,
    type: "HTTP",
    credentials: { baseUrl: service, bearerToken: "s3cret-token-of-ours" },
    description: "Main team communication",
    tags: ["team", "communication"],
    isActive: true,
  });
  const { id } = tool;
  assert.equal(typeof id, "number");
  assert.equal(tool.name, `Team Service ${name}`);
  assert.equal(tool.type, "HTTP");
  assert.ok(!JSON.stringify(tool).includes("s3cret"), "credentials are masked");
  assert.deepEqual(await trpc.tools.getById.query({ id }), tool);
  const { tools: found, total } = await trpc.tools.getAll.query({
    limit: 100,
    offset: 0,
    search: tool.name,
    type: tool.type.toLowerCase(),
    isActive: true,
  });
  assert.equal(total, 1);
  assert.deepEqual(found, [tool]);
  const unknown = await rejection(
    trpc.tools.create.mutate({
      name: "Team Chat",
      type: "NO_SUCH_SERVICE",
      credentials: { token: "s3cret" },
    }),
  );
  assert.equal(unknown.data.code, "BAD_REQUEST");
  assert.equal(unknown.data.details[0].path, "type");

  const tested = await trpc.tools.testConnection.mutate({ id });
  assert.equal(tested.success, true, tested.message);
  assert.equal(typeof tested.message, "string");
  assert.equal(typeof tested.details, "object");

  const sent = {
    toolId: id,
    actionId: "http.request",
    parameters: { method: "POST", path: "messages", json: { message: "Hello from API!" } },
  };
  const result = await trpc.tools.executeAction.mutate(sent);
  assert.equal(result.exitCode, 0, JSON.stringify(result));
  assert.equal(typeof result.stdout, "string");
  assert.equal(result.stderr, "");
  assert.deepEqual(result.data.body, { ok: true });
  assert.equal(result.healthStatus.status, "healthy");
  assert.equal(typeof result.healthStatus.latency, "number");
  const rehearsed = await trpc.tools.executeAction.mutate({ ...sent, isTest: true });
  assert.equal(rehearsed.data.sent, false);

  const failed = await rejection(
    trpc.tools.executeAction.mutate({ ...sent, parameters: { path: 7 } }),
  );
  assert.equal(failed.name, "TRPCClientError");
  assert.equal(failed.data.code, "BAD_REQUEST");
  assert.equal(failed.data.path, "tools.executeAction");

  const stats = await eventually(
    () => trpc.tools.getStats.query({ period: "day", groupBy: "type", toolId: id }),
    (stats) => stats.length > 0,
  );
  assert.deepEqual(
    stats.map(({ key, succeeded }) => [key, succeeded]),
    [[tool.type, 1]],
  );

  const recent = {
    limit: 50,
    offset: 0,
    toolType: tool.type.toLowerCase(),
    status: "SUCCESS",
  };
  const { logs, total: logged } = await eventually(
    () => trpc.toolActionLogs.getRecent.query(recent),
    ({ logs }) => logs[1]?.toolId === id,
  );
  assert.ok(logged >= 1);
  assert.equal(logs[0].isTest, true);
  assert.equal(logs[1].actionId, sent.actionId);
  assert.equal(logs[1].actionType, "query");
  assert.deepEqual(logs[1].parameters, sent.parameters);
  assert.deepEqual(await trpc.toolActionLogs.getByEventId.query({ eventId: 456 }), []);

  const event = await rejection(
    trpc.events.create.mutate({
      name: "Daily Update",
      type: "TOOL_ACTION",
      toolActionConfig: JSON.stringify({
        toolType: tool.type,
        toolId: id,
        actionId: "http.request",
        parameters: { path: "messages", json: { message: "Daily update: {{DATE}}" } },
      }),
      triggerType: "SCHEDULE",
      schedule: "0 9 * * *",
    }),
  );
  assert.equal(event.data.code, "NOT_IMPLEMENTED", event.message);

  // "Batch Email Notifications": many at once, of which some fail.
  const results = await Promise.allSettled(
    [1, 2, 3].map((n) =>
      trpc.tools.executeAction.mutate({
        ...sent,
        toolId: n === 2 ? 4711 : id,
        parameters: { path: `messages/${n}` },
      }),
    ),
  );
  assert.deepEqual(
    results.map((settled) => settled.status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  assert.equal(results[1].reason.data.code, "NOT_FOUND");
  const [one, none] = await Promise.allSettled([
    trpc.tools.getById.query({ id }),
    trpc.tools.getById.query({ id: 4711 }),
  ]);
  assert.deepEqual(one.value, tool);
  assert.equal(none.reason.data.httpStatus, 404);

  const updated = await trpc.tools.update.mutate({
    id,
    name: `Updated Name ${name}`,
    credentials: { baseUrl: service, bearerToken: "another-s3cret" },
    isActive: false,
  });
  assert.equal(updated.name, `Updated Name ${name}`);
  assert.equal(updated.isActive, false);
  await trpc.tools.delete.mutate({ id });
  const gone = await rejection(trpc.tools.getById.query({ id }));
  assert.equal(gone.data.code, "NOT_FOUND");
  console.log(`${name}: every procedure answers`);
}

await drive("httpLink", links.httpLink({ url }));
await drive("httpBatchLink", links.httpBatchLink({ url }));
if (links.httpBatchStreamLink) {
  await drive("httpBatchStreamLink", links.httpBatchStreamLink({ url }));
}
