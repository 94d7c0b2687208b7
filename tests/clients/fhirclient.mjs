// The server through fhirclient, the JavaScript client of SMART, without a launch.

import assert from "node:assert/strict";
import fhirclient from "fhirclient";
import {
  base, check, expectFamily, expectMixed, family, ids, mixed, modes, parameters, patient, reason, refused, report,
  resources, window,
} from "./checks.mjs";

const ME = "fhirclient";
const client = new fhirclient.FhirClient(base);
const FHIR_JSON = { "content-type": "application/fhir+json" };
const whole = { includeResponse: true };
const mine = `identifier=${encodeURIComponent(`https://clients.example/${ME}|`)}`;
const post = (url, body) =>
  client.fhirRequest(url, { method: "POST", body: JSON.stringify(body), headers: FHIR_JSON });
const said = (error) => JSON.parse(error.message.slice(error.message.indexOf("{")));
const refuses = (status, run) => refused(status, run, (error) => error.status, said);
let ida;

check("knows the release", async () => assert.equal(await client.getFhirRelease(), 4));

check("creates", async () => {
  const { body, response } = await client.create(patient(ME, "Vogel"), whole);
  assert.equal(response.status, 201);
  ida = body;
});

check("creates, and follows Location where nothing is returned", async () => {
  const found = await client.create(patient(ME, "Quiet"), { headers: { Prefer: "return=minimal" } });
  assert.equal(found.name[0].family, "Quiet");
});

check("reads", async () => {
  assert.deepEqual((await client.fhirRequest(`Patient/${ida.id}`)).name, ida.name);
});

check("creates conditionally", async () => {
  const headers = { "If-None-Exist": `${mine}vogel` };
  const { body, response } = await client.create(patient(ME, "Vogel"), { ...whole, headers });
  assert.deepEqual([response.status, body.id], [200, ida.id]);
});

check("updates with If-Match", async () => {
  ida = await client.update({ ...ida, gender: "female" }, { headers: { "If-Match": 'W/"1"' } });
  assert.equal(ida.meta.versionId, "2");
});

check("is refused a stale If-Match", () => refuses(412, () => client.update(ida, { headers: { "If-Match": 'W/"1"' } })));

check("patches", async () => {
  ida = await client.patch(`Patient/${ida.id}`, [{ op: "add", path: "/birthDate", value: "1990-05-06" }]);
  assert.equal(ida.birthDate, "1990-05-06");
});

check("reads a version", async () => {
  assert.equal((await client.fhirRequest(`Patient/${ida.id}/_history/2`)).birthDate, undefined);
});

check("reads pages", async () => {
  for (const family of ["Amsel", "Drossel", "Fink"]) await client.create(patient(ME, family));
  const pages = [];
  for await (const page of client.pages(`Patient?${mine}&_count=2&_sort=-family`)) pages.push(page);
  assert.deepEqual(pages.map((page) => page.entry.length), [2, 2, 1]);
  const names = pages.flatMap(resources).map((one) => one.name[0].family);
  assert.deepEqual(names, ["Vogel", "Quiet", "Fink", "Drossel", "Amsel"]);
});

check("reads the resources of pages", async () => {
  const found = [];
  for await (const resource of client.resources(`Patient?${mine}&_count=1`, { limit: 3 })) found.push(resource.id);
  assert.equal(new Set(found).size, 3);
});

check("includes and includes in reverse", async () => {
  const found = await client.fhirRequest("PractitionerRole?_id=smith-main&_include=*&_revinclude=Schedule:actor");
  assert.deepEqual(modes(found).sort(), [
    "Location include", "Organization include", "Practitioner include", "PractitionerRole match", "Schedule include",
  ]);
});

check("resolves references", async () => {
  const schedule = await client.fhirRequest("Schedule/smith-main");
  const found = await client.getReferences(schedule, ["actor.0"]);
  assert.equal(found["PractitionerRole/smith-main"].id, "smith-main");
});

check("asks for a summary", async () => {
  assert.equal((await client.fhirRequest(`Patient?${mine}&_summary=count`)).total, 5);
});

check("sends a transaction", async () => {
  await expectFamily(await post("", family(ME)), (id) => client.fhirRequest(`Patient/${id}`));
});

check("sends a batch", async () => expectMixed(await post("", mixed(ida.id))));

check("reads history", async () => {
  const found = await client.fhirRequest(`Patient/${ida.id}/_history`);
  assert.deepEqual(resources(found).map((one) => one.meta.versionId), ["3", "2", "1"]);
});

check("finds, books and cancels", async () => {
  const found = await client.fhirRequest(`Schedule/smith-main/$find-slots?${new URLSearchParams(window())}`);
  const asked = parameters(
    ["slot", "Reference", { reference: `Slot/${ids(resources(found))[0]}` }],
    ["patient", "Reference", { reference: `Patient/${ida.id}` }],
  );
  const booked = await post("Appointment/$book", asked);
  assert.equal(booked.status, "booked");
  await refuses(409, () => post("Appointment/$book", asked));
  const why = parameters(["cancelationReason", "CodeableConcept", reason]);
  assert.equal((await post(`Appointment/${booked.id}/$cancel`, why)).status, "cancelled");
});

check("validates", async () => {
  const outcome = await post("Patient/$validate", patient(ME, "Bird", { gender: "bird" }));
  assert.ok(outcome.issue.some((issue) => issue.severity === "error"));
});

check("asks for everything", async () => {
  const types = resources(await client.fhirRequest(`Patient/${ida.id}/$everything`)).map((one) => one.resourceType);
  assert.ok(types.includes("Patient") && types.includes("Appointment"), types.join());
});

check("deletes, and is told that it is gone", async () => {
  const { id } = await client.create(patient(ME, "Gone"));
  await client.delete(`Patient/${id}`);
  await refuses(410, () => client.fhirRequest(`Patient/${id}`));
});

await report();
