import { useEffect, useState } from "react";

import { accountOptions } from "../../api/account";
import type { RegistrationOptions } from "../../api/types";

/** Where the server does not tell, it refuses what it does not allow. */
const UNTOLD: RegistrationOptions = {
  registration: "open",
  first: false,
  password_min_length: 8,
  password_advised_length: 15,
};

/** How one comes to an account here; null until it is known. */
export function useAccountOptions(): RegistrationOptions | null {
  const [options, setOptions] = useState<RegistrationOptions | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    accountOptions(abort.signal)
      .catch(() => UNTOLD)
      .then((found) => abort.signal.aborted || setOptions(found))
      .catch(() => undefined);
    return () => abort.abort();
  }, []);
  return options;
}
