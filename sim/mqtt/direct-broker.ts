import { Aedes, type PublishPacket } from 'aedes'

/**
 * Aedes without its fan-out. No device of Azure receives what another has published: each service takes
 * publications when they are authorised and writes to one client at a time, so matching and queueing are waste.
 */
export class DirectBroker extends Aedes {
  override publish(_packet: PublishPacket, ...rest: readonly unknown[]): void {
    later(rest)
  }

  override subscribe(_topic: string, ...rest: readonly unknown[]): void {
    later(rest)
  }

  override unsubscribe(_topic: string, ...rest: readonly unknown[]): void {
    later(rest)
  }
}

/** Calls the callback, which is the last argument. Not at once: aedes would re-enter its parser. */
function later(rest: readonly unknown[]): void {
  const callback = rest.at(-1)
  if (typeof callback === 'function') process.nextTick(callback)
}
