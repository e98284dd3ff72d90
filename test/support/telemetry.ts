import type { DeviceAgent } from 'leafkeeper'
import type { Azure } from './azure.ts'

/** A device that talks a hundred times a second. */
export interface Telemetry {
  /** Resolves when this many more messages are acknowledged. */
  acknowledged(more: number): Promise<void>
  /** Ends it, waits for every acknowledgement and tells what was sent, and what of it the hub has not got. */
  stop(): Promise<{ readonly sent: number; readonly lost: readonly string[] }>
}

/** Begins to send; a message that fails for good fails `stop`. */
export function keepSending(azure: Azure, agent: DeviceAgent): Telemetry {
  const { registrationId } = agent.status()
  const bodies: string[] = []
  const pending: Promise<void>[] = []
  const waiting: { left: number; readonly done: () => void }[] = []
  const timer = setInterval(() => {
    const body = `message ${bodies.length}`
    bodies.push(body)
    const sent = agent.send({ body })
    pending.push(sent)
    // Its failure is told by `stop`.
    sent.then(counted, () => undefined)
  }, 10)
  const counted = (): void => {
    for (const waiter of waiting) {
      waiter.left -= 1
      if (waiter.left === 0) waiter.done()
    }
  }
  return {
    acknowledged: async (more) => new Promise((done) => waiting.push({ left: more, done })),
    async stop() {
      clearInterval(timer)
      await Promise.all(pending)
      return { sent: bodies.length, lost: azure.lost(registrationId, bodies) }
    },
  }
}
