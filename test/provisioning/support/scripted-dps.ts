import type { Authority } from '../../transport/support/authority.ts'
import { puback } from '../../transport/support/mqtt-wire.ts'
import { scriptedServer, type Session } from '../../transport/support/scripted-server.ts'

/** A question of the device, and the ways to answer it. */
export interface Question {
  readonly kind: 'register' | 'poll'
  readonly requestId: string
  readonly body: string
  readonly topic: string
  readonly session: Session
  /** Answers on the response topic; text is sent as it is. */
  readonly answer: (status: number | string, body: unknown, retryAfter?: number | string) => void
}

export interface ScriptedDps extends AsyncDisposable {
  readonly port: number
  readonly sessions: Session[]
  readonly questions: Question[]
  nextSession(): Promise<Session>
}

/** A DPS whose answers are scripted; everything else of MQTT it does properly. */
export async function scriptedDps(
  authority: Authority,
  script: (question: Question, count: number) => void,
): Promise<ScriptedDps> {
  const { key, certificate } = await authority.server(['dps.example.net'])
  const questions: Question[] = []
  const server = await scriptedServer({ key, cert: certificate }, (packet, session) => {
    if (packet.cmd !== 'publish') return false
    if (packet.id !== undefined) session.send(puback(packet.id))
    const requestId = /\$rid=([^&]+)/.exec(packet.topic)?.[1] ?? ''
    const question: Question = {
      kind: packet.topic.startsWith('$dps/registrations/PUT/') ? 'register' : 'poll',
      requestId,
      body: packet.payload,
      topic: packet.topic,
      session,
      answer: (status, body, retryAfter) => {
        const pause = retryAfter === undefined ? '' : `&retry-after=${retryAfter}`
        const text = typeof body === 'string' ? body : JSON.stringify(body)
        session.publish(`$dps/registrations/res/${status}/?$rid=${requestId}${pause}`, text)
      },
    }
    questions.push(question)
    script(question, questions.length)
    return true
  })
  return { ...server, questions }
}

export const assigning = { operationId: '5.506603669bd3e2bf.1', status: 'assigning' } as const

export const assigned = {
  operationId: '5.506603669bd3e2bf.1',
  status: 'assigned',
  registrationState: {
    registrationId: 'gateway-1',
    assignedHub: 'hub-a.azure-devices.net',
    deviceId: 'gateway-1',
    status: 'assigned',
    substatus: 'initialAssignment',
  },
} as const
