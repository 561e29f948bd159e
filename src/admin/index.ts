import type { Door, Locker } from "../api.ts";
import { checkedLimit, LockOptionError, readKey, show } from "../core.ts";
import { keysBeside, readLook } from "./look.ts";
import { type AdminOperation, adminScript } from "./script.ts";
