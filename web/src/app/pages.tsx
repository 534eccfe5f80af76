import { lazy, Suspense } from "react";

import { useScope } from "../features/chat/use-scope";
import { useIntake } from "../features/documents/use-intake";
import { Shell } from "./shell";
import { useChatSession } from "./use-chat-session";
import { goTo, goToPage, usePlace } from "./use-path";

const Settings = lazy(() => import("../features/settings/settings").then((module) => ({ default: module.Settings })));
const Administration = lazy(() =>
  import("../features/administration/administration").then((module) => ({ default: module.Administration })),
);

/** The pages of somebody who is logged in. Answers and uploads go on whichever of them is open. */
export function Pages({ userId }: { userId: string }) {
  const place = usePlace();
  const { session, drafts } = useChatSession(userId);
  const scope = useScope(place.conversationId);
  const intake = useIntake();
  const { page, section } = place;
  if (page !== "settings" && page !== "administration") {
    return <Shell {...{ place, session, drafts, scope, intake }} />;
  }
  const Open = page === "settings" ? Settings : Administration;
  return (
    <Suspense fallback={null}>
      <Open
        section={section}
        onGo={(next) => goToPage(page, { section: next })}
        onClose={() => goTo(place.conversationId)}
      />
    </Suspense>
  );
}
