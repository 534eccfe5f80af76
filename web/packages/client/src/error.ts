import type { Problem } from "./wire.js";

/** What of a problem document (RFC 9457) is kept; `run_id` stands in a refusal that names the run it means. */
type Stated = Pick<Problem, "code" | "message" | "status" | "retryable"> & { run_id?: string };

/**
 * What went wrong, as the server stated it, or the lack of any answer (`code: "unreachable"`).
 *
 * `status` is that of HTTP; 0 where there is none: no answer came, or the answer failed after its stream had begun.
 */
export class LorestreamError extends Error {
  override readonly name = "LorestreamError";
  readonly code: string;
  readonly status: number;
  readonly retryable: boolean;
  /** Seconds that the server asks us to wait. */
  readonly retryAfter: number | null;
  /** When that will be over, on this machine's clock (milliseconds, as `Date.now`). */
  readonly retryAt: number | null;
  /** The run that the same request began before, whose events are no longer kept. */
  readonly runId: string | null;
  /** What is wrong with which field of the request, by the field's name. */
  readonly fields: Readonly<Record<string, string>>;

  constructor(stated: Stated, retryAfter?: number | null, fields: Readonly<Record<string, string>> = {}) {
    super(stated.message);
    this.code = stated.code;
    this.status = stated.status;
    this.retryable = stated.retryable;
    this.retryAfter = retryAfter ?? null;
    this.retryAt = this.retryAfter === null ? null : Date.now() + this.retryAfter * 1000;
    this.fields = fields;
    this.runId = stated.run_id ?? null;
  }
}

export const unreachable = (): LorestreamError =>
  new LorestreamError({
    code: "unreachable",
    message: "The server cannot be reached. Is it running, and are you online?",
    status: 0,
    retryable: true,
  });

/** The code of a refusal that is not our server's: a proxy's, whose upstream restarts. */
export const UNSTATED = "http";

/** The error in a refused response, whatever stood between us and the server (a proxy answers in HTML). */
export function toError(status: number, body: string, retryAfter: string | null): LorestreamError {
  const seconds = Number(retryAfter ?? Number.NaN);
  const wait = Number.isFinite(seconds) ? seconds : null;
  const document = parseObject(body);
  const message =
    typeof document?.message === "string" ? document.message : `The server answered with status ${status}.`;
  const code = typeof document?.code === "string" ? document.code : UNSTATED;
  const retryable = document?.retryable === true || status >= 502;
  const runId = typeof document?.run_id === "string" ? { run_id: document.run_id } : {};
  return new LorestreamError({ code, message, status, retryable, ...runId }, wait, fieldsOf(document));
}

/** The error in a refused response; its body is read to the end. */
export async function readError(response: Response): Promise<LorestreamError> {
  const body = await response.text().catch(() => "");
  return toError(response.status, body, response.headers.get("Retry-After"));
}

/** `body.password` is the field `password`. */
function fieldsOf(document: Record<string, unknown> | null): Record<string, string> {
  const errors = document?.errors;
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

/** The object that a body holds; null where it holds none. */
export function parseObject(body: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
