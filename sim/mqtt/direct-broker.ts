import { Aedes, type PublishPacket } from 'aedes'
import type { StoredSubscription } from './session.ts'

/** What aedes asks its persistence for, as far as it is answered elsewhere. */
interface Persistence {
  subscriptionsByClient(client: { readonly id: string }): Promise<readonly StoredSubscription[]>
  addSubscriptions(): Promise<void>
  removeSubscriptions(): Promise<void>
  cleanSubscriptions(): Promise<void>
  outgoingEnqueue(): Promise<void>
  outgoingUpdate(): Promise<void>
  outgoingClearMessageId<T>(client: unknown, packet: T): Promise<T>
}

/**
 * Aedes without its fan-out and without its sessions. No device of Azure receives what another has published: each
 * service takes publications when they are authorised and writes to one client at a time, so matching and queueing
 * are waste. Sessions belong to the services, which can end them, and save them with everything else.
 */
export class DirectBroker extends Aedes {
  /** Asks for the subscriptions of a client that comes back. To be called once, after `listen`. */
  keepSessionsElsewhere(storedOf: (clientId: string) => readonly StoredSubscription[]): void {
    const { persistence } = this as unknown as { readonly persistence: Persistence }
    const nothing = async (): Promise<void> => Promise.resolve()
    Object.assign<Persistence, Persistence>(persistence, {
      subscriptionsByClient: async ({ id }) => Promise.resolve(storedOf(id)),
      addSubscriptions: nothing,
      removeSubscriptions: nothing,
      cleanSubscriptions: nothing,
      outgoingEnqueue: nothing,
      outgoingUpdate: nothing,
      outgoingClearMessageId: async (_client, packet) => Promise.resolve(packet),
    })
  }

  override publish(_packet: PublishPacket, ...rest: readonly unknown[]): void {
    later(rest)
  }

  override subscribe(_topic: string, _deliver: unknown, ...rest: readonly unknown[]): void {
    later(rest)
  }

  // Aedes leaves the callback out when a device subscribes again with another QoS.
  override unsubscribe(_topic: string, _deliver: unknown, ...rest: readonly unknown[]): void {
    later(rest)
  }
}

/** Calls the callback, which is the last argument where there is one. Not at once: aedes would re-enter its parser. */
function later(rest: readonly unknown[]): void {
  const callback = rest.at(-1)
  if (typeof callback === 'function') process.nextTick(callback)
}
