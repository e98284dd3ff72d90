import { describeModule } from './describe-module.ts'

describeModule('tpm2-pkcs11')
