<?php
$config = [
    'people' => [
        'exampleauth:UserPass',
        'ann:secret-of-ann' => ['uid' => ['ann'], 'groups' => ['analysts'], 'mail' => ['ann@example.com']],
        'eve:secret-of-eve' => ['uid' => ['eve'], 'groups' => ['visitors'], 'mail' => ['eve@example.com']],
    ],
];
