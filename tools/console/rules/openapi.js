// The API reference from openapi.json: operations, their parameters, and an example of a body. Pure functions.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEP = 6;

/** All operations, in the order of the paths. Each has its tag. */
export function operations(api) {
  const found = [];
  for (const [path, members] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      const one = members[method];
      if (one) found.push({ id: `${method} ${path}`, method: method.toUpperCase(), path, tag: one.tags?.[0] ?? "other", summary: one.summary ?? "", one });
    }
  }
  return found;
}

export const tags = (api, found) => {
  const told = new Map((api.tags ?? []).map(({ name, description }) => [name, description]));
  return [...new Set(found.map(({ tag }) => tag))].map((name) => ({ name, description: told.get(name) ?? "" }));
};

/** Follow a reference inside the document. */
export function resolved(api, value) {
  let now = value;
  for (let step = 0; now?.$ref && step < 10; step++) now = now.$ref.replace(/^#\//, "").split("/").reduce((at, name) => at?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], api);
  return now ?? {};
}

export const parameters = (api, { one }) => (one.parameters ?? []).map((given) => resolved(api, given)).filter(({ in: place }) => place === "path" || place === "query");

/** Whether the route takes an `Idempotency-Key`. Others refuse the header. */
export const takesKey = (api, { one }) => (one.parameters ?? []).some((given) => resolved(api, given).name?.toLowerCase() === "idempotency-key");

/** Whether the route may ask for a fresh proof of the person. */
export const mayStepUp = (api, operation) => answers(api, operation).some(({ codes }) => codes.some(({ code }) => code === "step_up_required"));

/** The media type and the schema of the body, or null. */
export function bodyOf(api, { one }) {
  const content = resolved(api, one.requestBody).content;
  if (!content) return null;
  const [type, { schema }] = Object.entries(content)[0];
  return { type, schema: resolved(api, schema) };
}

/** A value that fits a schema. Optional members are left out, unless none is required. */
export function example(api, given, deep = 0) {
  const schema = resolved(api, given);
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (choice && deep < DEEP) return example(api, choice[0], deep + 1);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if ((type === "object" || schema.properties) && deep < DEEP) {
    const names = schema.required?.length ? schema.required : Object.keys(schema.properties ?? {});
    return Object.fromEntries(names.map((name) => [name, example(api, schema.properties?.[name] ?? {}, deep + 1)]));
  }
  if (type === "array") return [];
  if (type === "integer" || type === "number") return schema.minimum ?? 0;
  if (type === "boolean") return false;
  return schema.format === "email" ? "ada@example.com" : "text".padEnd(schema.minLength ?? 0, "-");
}

/** Known members get values of the chosen phone. */
export function filled(value, { email, password }) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  const known = { email, password, client_id: "mobile" };
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, known[name] ?? filled(one, { email, password })]));
}

/** A body as text, by its media type. */
export const written = (type, value) =>
  type === "application/x-www-form-urlencoded" ? new URLSearchParams(Object.entries(value ?? {}).map(([name, one]) => [name, String(one)])).toString() : JSON.stringify(value, null, 2);

/** The path with its parameters, and the query. Empty parameters of the query are left out. */
export function target({ path }, given, values) {
  let filledPath = path;
  const query = {};
  for (const { name, in: place } of given) {
    const value = values[name] ?? "";
    if (place === "path") filledPath = filledPath.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "") query[name] = value;
  }
  return { path: filledPath, query };
}

/** Answers in order: status, description and error codes. */
export const answers = (api, { one }) =>
  Object.entries(one.responses ?? {}).map(([status, given]) => {
    const { description = "", "x-codes": codes = {} } = resolved(api, given);
    return { status, description, codes: Object.entries(codes).map(([code, action]) => ({ code, action })) };
  });
