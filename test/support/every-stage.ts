import { failure, hubB, type DrivenMachine } from './machine.ts'
import {
  connected,
  dpsRefuses,
  fresh,
  network,
  proving,
  requesting,
  retiring,
  stagedAfterRefusal,
  storing,
  switching,
  unauthorized,
} from './machine-stages.ts'

const tokenFails = failure('HSM_DEVICE_ERROR', true)
const issuerFails = failure('ISSUER_UNAVAILABLE', true)

const refreshing = (): DrivenMachine => connected().send({ kind: 'reprovisionRequested' })
const connecting = (): DrivenMachine => connected().disconnected().wake()
const registering = (): DrivenMachine => connecting().fails('connectHub', unauthorized).wake()
const pending = (): DrivenMachine => {
  const machine = requesting()
  const { operation } = machine.take('requestCertificate')
  return machine.send({ kind: 'certificatePending', operation, ticket: 't', retryAfterMs: 5_000 })
}

const stages: Record<string, () => DrivenMachine> = {
  'before its start': fresh,
  stopped: () => connected().send({ kind: 'stopRequested' }),
  'with its first key on the way': () => fresh().start(),
  'with its first key waiting to be tried again': () => fresh().start().fails('generateKey', tokenFails),
  'with its first roll given up': () => fresh().start().fails('generateKey', failure('HSM_TOKEN_FULL')),
  'registering for the first time': () => fresh().start().generated().issued().stored(),
  'connecting for the first time': () => fresh().start().generated().issued().stored().registered(),
  connected,
  'registering beside its connection': refreshing,
  'about to register again beside its connection': () => refreshing().fails('register', network),
  'moving to another hub': () => refreshing().registered(hubB),
  'waiting to connect': () => connected().disconnected(),
  connecting,
  'registering without a connection': registering,
  'refused by everybody': () => registering().fails('register', dpsRefuses),
  halted: () => connecting().fails('connectHub', failure('HSM_PIN_LOCKED')),
  'making a key': () => connected().roll(),
  'about to make a key again': () => connected().roll().fails('generateKey', tokenFails),
  'requesting a certificate': requesting,
  'about to ask the issuer again': () => requesting().fails('requestCertificate', issuerFails),
  'with a request pending': pending,
  'storing a certificate': storing,
  'about to store again': () => storing().fails('storeCertificate', tokenFails),
  staged: stagedAfterRefusal,
  proving,
  'proving, with a breach behind it': () => proving().roll('breach'),
  'without a connection while it proves': () => proving().disconnected(),
  switching: switching,
  'switching, with a breach behind it': () => switching().roll('breach'),
  'in the overlap': retiring,
  'destroying an old generation': () => retiring().wake(),
  'about to destroy again': () => retiring().wake().fails('destroyGeneration', tokenFails),
  'with the next roll waiting': () => retiring().wake().roll(),
  'with a roll given up': () => requesting().fails('requestCertificate', failure('ISSUER_REFUSED')),
}

/** The machine in each phase of connection, roll and destruction, for rules that hold in all of them. */
export const everyStage: readonly (readonly [stage: string, given: () => DrivenMachine])[] =
  Object.entries(stages)
