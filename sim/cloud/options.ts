import type { GroupAuthentication } from '../dps/assignment.ts'
import type { DisabledEnrollment } from '../dps/registration-desk.ts'
import type { OnRecordReplaced } from '../hub/hub-parts.ts'

/** What a cloud is made of. Everything has a default. */
export interface CloudOptions {
  /** Names of the IoT hubs, which are all linked to DPS. Default `['hub-a', 'hub-b']`. */
  readonly hubs?: readonly string[]
  /** The port of 127.0.0.1 to listen on. Default: the one of `data`, or a free one. */
  readonly port?: number
  /**
   * A loopback address to have for itself, such as `127.0.0.2`: listens on its ports 443 and 8883, where clients of
   * Azure look for them. When the lines of `cloud.hostsFile` stand in the hosts file, programs come here unchanged.
   * Ports below 1024 are for root on most systems. Default: none.
   */
  readonly ownAddress?: string
  /** A folder that keeps everything across restarts and crashes. Default: none. */
  readonly data?: string
  /**
   * What a hub does with a live connection whose certificate no longer fits the device record, once the record is
   * rewritten. It is not known what Azure does. Default `keep-session`.
   */
  readonly onRecordReplaced?: OnRecordReplaced
  /** What DPS writes into the device record for devices of a group. Default `selfSigned`. */
  readonly groupAuthentication?: GroupAuthentication
  /** How long DPS asks devices to wait before they ask again, in seconds. Default 0, so that tests are quick. */
  readonly retryAfterSeconds?: number
  /** What a device of a disabled entry is told. Default `unauthorized`. */
  readonly disabledEnrollment?: DisabledEnrollment
  /** For faults that come to pass with a probability: the same seed, the same run. Default 1. */
  readonly seed?: number
  /** The services' clock, in milliseconds since 1970. Default: this machine's. */
  readonly now?: () => number
}
