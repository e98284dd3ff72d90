import { vi } from 'vitest'
import pkcs11, { type PKCS11 } from 'pkcs11js'
import { Pkcs11Module } from '../../src/hsm/pkcs11-module.ts'
import { loadProfile } from '../../src/hsm/profile.ts'

/** The one interface of a module in this process, which the code under test uses too. */
export function moduleApi(path: string): PKCS11 {
  const module = Pkcs11Module.open(path, loadProfile('softhsm'))
  module.close()
  return module.api
}

/** Counts the C_Login calls of a module from now on. */
export function loginsOf(path: string): () => number {
  const spy = vi.spyOn(moduleApi(path), 'C_Login')
  return () => spy.mock.calls.length
}

/** What pkcs11js throws for a return value. */
export function ckr(name: string): Error {
  return new pkcs11.Pkcs11Error(`${name}:5`, 5)
}
