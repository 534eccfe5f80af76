/**
 * Write the types of the API's objects and of a stream's events from ../wire: those that a client has to do with into
 * its package, all others into the page's src/api/wire.ts.
 *
 * With --check nothing is written; a file that differs from what ../wire says is an error.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import prettier from "prettier";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const PAGE = "src/api/wire.ts";
const CLIENT = "packages/client/src/wire.ts";
/** What the client's package begins with; what these refer to comes along. */
const OF_CLIENT = ["StreamEvent", "RunView", "DocumentList", "SearchAnswer", "Problem"];
/** FastAPI's own; our errors have another shape. */
const FOREIGN = /^(HTTPValidationError|ValidationError|Body_.*)$/;

const nameOf = (ref) => ref.split("/").at(-1);
const union = (parts) => [...new Set(parts)].join(" | ");

function typeOf(schema) {
  if (schema === undefined || schema === true) return "unknown";
  if (schema.$ref) return nameOf(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return union(choices.map(typeOf));
  if (schema.allOf) return schema.allOf.map(typeOf).join(" & ");
  if (Array.isArray(schema.type)) return union(schema.type.map((type) => typeOf({ ...schema, type })));
  switch (schema.type) {
    case "array":
      return `(${typeOf(schema.items)})[]`;
    case "object":
      return schema.properties ? objectOf(schema) : `Record<string, ${typeOf(schema.additionalProperties)}>`;
    case "integer":
    case "number":
      return "number";
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    default:
      return "unknown";
  }
}

function objectOf({ properties, required = [] }) {
  const members = Object.entries(properties).map(([name, schema]) => {
    return `${comment(schema)}${JSON.stringify(name)}${required.includes(name) ? "" : "?"}: ${typeOf(schema)};`;
  });
  return `{\n${members.join("\n")}\n}`;
}

const comment = ({ description }) =>
  description ? `/** ${description.replaceAll("*/", "*\\/").replaceAll(/\s*\n\s*/g, " ")} */\n` : "";

const declare = (name, schema) =>
  schema.properties
    ? `${comment(schema)}export interface ${name} ${objectOf(schema)}`
    : `${comment(schema)}export type ${name} = ${typeOf(schema)};`;

const api = read("../../wire/openapi.json").components.schemas;
const { $defs: events, ...event } = read("../../wire/events.schema.json");
for (const name of Object.keys(events)) {
  if (name in api && typeOf(api[name]) !== typeOf(events[name])) throw new Error(`${name} has two meanings in wire/`);
}
const all = Object.fromEntries(
  Object.entries({ ...api, ...events, StreamEvent: event })
    .filter(([name]) => !FOREIGN.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1)),
);

/** The names that a schema refers to. */
const mentioned = (schema) =>
  Array.from(JSON.stringify(schema).matchAll(/"\$ref":"[^"]*\/(\w+)"/g), ([, name]) => name).filter(
    (name) => name in all,
  );

const ofClient = new Set(OF_CLIENT);
for (const name of ofClient) for (const other of mentioned(all[name])) ofClient.add(other);
const names = { [CLIENT]: [], [PAGE]: [] };
for (const name of Object.keys(all)) names[ofClient.has(name) ? CLIENT : PAGE].push(name);
const shared = [...new Set(names[PAGE].flatMap((name) => mentioned(all[name])))].filter((name) => ofClient.has(name));
const heads = {
  [CLIENT]: [],
  [PAGE]: [
    ...(shared.length > 0 ? [`import type { ${shared.sort().join(", ")} } from "@lorestream/client/wire";`] : []),
    'export type * from "@lorestream/client/wire";',
  ],
};

for (const [path, head] of Object.entries(heads)) {
  const target = new URL(`../${path}`, import.meta.url);
  const declared = names[path].map((name) => declare(name, all[name]));
  const source = ["// Generated from wire/ by `make wire`; do not edit.", ...head, ...declared].join("\n\n");
  const wanted = await prettier.format(source, { parser: "typescript", ...(await prettier.resolveConfig(target)) });
  if (!process.argv.includes("--check")) {
    writeFileSync(target, wanted);
  } else if (!existsSync(target) || readFileSync(target, "utf8") !== wanted) {
    console.error(`web/${path} is not what wire/ says; run \`make wire\``);
    process.exitCode = 1;
  }
}
