import type { Problem as ProblemDocument } from "./types";

/** A refusal that the server stated, or the lack of any answer (`code: "unreachable"`, `status: 0`). */
export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  /** Seconds that the server asks us to wait. */
  readonly retryAfter: number | null;
  /** When that will be over, on this page's clock (milliseconds, as `Date.now`). */
  readonly retryAt: number | null;
  /** The run that the same request began before, whose events are no longer kept. */
  readonly runId: string | null;
  /** What is wrong with which field of a form, by the field's name. */
  readonly fields: Readonly<Record<string, string>>;

  constructor(
    document: Pick<ProblemDocument, "code" | "message" | "status" | "retryable" | "run_id">,
    retryAfter?: number | null,
    fields: Readonly<Record<string, string>> = {},
  ) {
    super(document.message);
    this.code = document.code;
    this.status = document.status;
    this.retryable = document.retryable;
    this.retryAfter = retryAfter ?? null;
    this.retryAt = this.retryAfter === null ? null : Date.now() + this.retryAfter * 1000;
    this.fields = fields;
    this.runId = document.run_id ?? null;
  }
}

export const unreachable = (): Problem =>
  new Problem({
    code: "unreachable",
    message: "The server cannot be reached. Is it running, and are you online?",
    status: 0,
    retryable: true,
  });

/** The code of a refusal that is not our server's: a proxy's, whose upstream restarts. */
export const UNSTATED = "http";

/** The problem in a refused response, whatever stood between us and the server (a proxy answers in HTML). */
export function toProblem(status: number, body: string, retryAfter: string | null): Problem {
  const seconds = Number(retryAfter ?? Number.NaN);
  const wait = Number.isFinite(seconds) ? seconds : null;
  const document = parseObject(body);
  const message =
    typeof document?.message === "string" ? document.message : `The server answered with status ${status}.`;
  const code = typeof document?.code === "string" ? document.code : UNSTATED;
  const retryable = document?.retryable === true || status >= 502;
  const runId = typeof document?.run_id === "string" ? { run_id: document.run_id } : {};
  return new Problem({ code, message, status, retryable, ...runId }, wait, fieldsOf(document));
}

/** `body.password` is the field `password`. */
function fieldsOf(document: Partial<ProblemDocument> | null): Record<string, string> {
  const errors: unknown = document?.errors;
  if (!Array.isArray(errors)) return {};
  return Object.fromEntries(
    errors
      .filter((item): item is { field: string; reason: string } => {
        const { field, reason } = (item ?? {}) as Partial<Record<"field" | "reason", unknown>>;
        return typeof field === "string" && typeof reason === "string";
      })
      .map(({ field, reason }) => [field.replace(/^body\./, ""), reason]),
  );
}

export async function readProblem(response: Response): Promise<Problem> {
  const body = await response.text().catch(() => "");
  return toProblem(response.status, body, response.headers.get("Retry-After"));
}

function parseObject(body: string): Partial<ProblemDocument> | null {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : null;
  } catch {
    return null;
  }
}

/** What to tell a person about anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Problem ? error.message : "Something went wrong in this page. Please reload it.";
}
