import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { initialiseToken } from '../../src/hsm/initialise-token.ts'
import { openToken, type OpenTokenOptions } from '../../src/hsm/open-token.ts'
import { loadProfile, modulePath } from '../../src/hsm/profile.ts'
import { prepareSoftHsm } from '../../src/hsm/softhsm.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { Secret } from '../../src/secret.ts'

/** A fresh SoftHSM with one token, in a folder of its own. */
export interface TestHsm {
  /** Everything SoftHSM writes is in here. */
  readonly folder: string
  /** Path of the PKCS#11 module. */
  readonly module: string
  readonly label: string
  readonly pin: Secret
  readonly soPin: Secret
  /** Opens the token with its PIN. */
  open(options?: Partial<OpenTokenOptions>): Promise<HsmToken>
  /** Runs OpenSC's pkcs11-tool on the token and gives what it prints. */
  pkcs11Tool(...args: string[]): string
  /** What pkcs11-tool shows of each object with this `CKA_ID`, one text an object. */
  objects(keyId: string): string[]
  /** Deletes one object with pkcs11-tool, as a person at the machine would. */
  deleteObject(type: 'privkey' | 'pubkey' | 'cert', keyId: string): void
  remove(): void
}

export const softHsmModule = modulePath(loadProfile('softhsm'))

/** SoftHSM flushes every object to its disk; a disk in memory makes that quick. */
const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/**
 * Makes a SoftHSM with one token for this process. SoftHSM reads its configuration once a process and vitest gives
 * each test file a process of its own: call it once a file, before anything opens the module.
 */
export function createTestHsm(
  label = `test-${randomBytes(4).toString('hex')}`,
  folder = mkdtempSync(join(memory, 'leafkeeper-hsm-')),
): TestHsm {
  Object.assign(process.env, prepareSoftHsm(folder))
  const pin = new Secret(randomBytes(6).toString('hex'))
  const soPin = new Secret(randomBytes(6).toString('hex'))
  initialiseToken({ module: softHsmModule, label, pin, soPin })
  const pkcs11Tool = (...args: string[]): string =>
    // The PIN goes by the environment: an argument list is readable by everyone on the machine.
    execFileSync(
      'pkcs11-tool',
      ['--module', softHsmModule, '--token-label', label, '--login', '--pin', 'env:PIN', ...args],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PIN: pin.reveal() } },
    )
  return {
    folder,
    module: softHsmModule,
    label,
    pin,
    soPin,
    open: (options) =>
      openToken({ module: softHsmModule, token: { label }, pin: { callback: () => pin }, ...options }),
    pkcs11Tool,
    objects: (keyId) =>
      pkcs11Tool('-O')
        .split(/^(?=\S)/m)
        .filter((object) => new RegExp(`ID: +${keyId}$`, 'm').test(object)),
    deleteObject: (type, keyId) => {
      pkcs11Tool('--delete-object', '--type', type, '--id', keyId)
    },
    remove: () => {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
