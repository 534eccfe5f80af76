/**
 * Write src/api/wire.ts from ../wire: the types of the API's objects and of a stream's events.
 *
 * With --check nothing is written; a file that differs from what ../wire says is an error.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import prettier from "prettier";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8"));
const TARGET = new URL("../src/api/wire.ts", import.meta.url);
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
const all = Object.entries({ ...api, ...events }).filter(([name]) => !FOREIGN.test(name));
const source = [
  "// Generated from wire/ by `make wire`; do not edit.",
  ...all.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, schema]) => declare(name, schema)),
  declare("StreamEvent", event),
].join("\n\n");
const wanted = await prettier.format(source, { parser: "typescript", ...(await prettier.resolveConfig(TARGET)) });

if (!process.argv.includes("--check")) {
  writeFileSync(TARGET, wanted);
} else if (!existsSync(TARGET) || readFileSync(TARGET, "utf8") !== wanted) {
  console.error("web/src/api/wire.ts is not what wire/ says; run `make wire`");
  process.exit(1);
}
