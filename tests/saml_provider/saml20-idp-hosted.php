<?php
$options = json_decode(file_get_contents(getenv('TASKGATE_SAML_BOX') . '/options.json'), true);
$metadata[getenv('TASKGATE_SAML_BASE') . '/idp'] = $options + [
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.key',
    'certificate' => 'idp.crt',
    'auth' => 'people',
    'sign.logout' => true,
    'redirect.sign' => true,
    'redirect.validate' => true,
    'NameIDFormat' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
    'authproc' => [
        1 => [
            'class' => 'saml:AttributeNameID', 'attribute' => 'uid',
            'Format' => 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
        ],
    ],
];
