const LINK = /^#invitation=([\w-]+)$/;

/** The code of an invitation link, `/#invitation=CODE`; it leaves the address bar, and so the history, at once. */
function take(): string | null {
  const code = LINK.exec(location.hash)?.[1] ?? null;
  if (code !== null) history.replaceState(history.state, "", location.pathname);
  return code;
}

let code = take();

export const invitation = (): string | null => code;

/** It works once. */
export const forgetInvitation = (): void => void (code = null);
